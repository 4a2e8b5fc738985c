"""How a request to prepare a document, and its answer, cross from one process to another."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Final, Literal

import orjson
from pydantic import Field, TypeAdapter

from knowledge.chunk import Chunk
from knowledge.fingerprint import Fingerprint
from knowledge.languages import Language
from knowledge.parse.document import MediaType, ParseLimits, Part, Unreadable
from knowledge.prepare import PreparedChunk, PreparedDocument

TAKEN_UP: Final = b"+"
"""What a process sends first: from here on a missing answer is the document's doing."""

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """What one document may cost; the kernel holds the process that prepares it to them.

    Units   wall_s, cpu_s: seconds. memory_bytes: address space, the interpreter's own 0.3 GB included.
    """

    wall_s: float = 120.0
    cpu_s: int = 60
    memory_bytes: int = 1_500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """All that a process needs to know besides the bytes."""

    title: str
    media_type: MediaType
    limits: ParseLimits
    budget: int
    process: ProcessLimits
    unpack: bool = True
    language: Language | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentChunk:
    ordinal: int
    start: int
    end: int
    page: int | None
    section: str | None
    token_count: int
    terms: dict[str, int]
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentPart:
    path: str
    media_type: MediaType
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    text: str
    page_starts: tuple[int, ...]
    chunks: list[_SentChunk]
    language: Language | None
    prepared_as: str
    note: str | None
    parts: list[_SentPart]
    """Their bytes follow one another behind the answer."""
    kind: Literal["done"] = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    reason: str
    kind: Literal["refused"] = "refused"


_REQUEST: Final = TypeAdapter(PrepareRequest)
_ANSWER: Final[TypeAdapter[_Done | _Refused]] = TypeAdapter(Annotated[_Done | _Refused, Field(discriminator="kind")])


def request_bytes(request: PrepareRequest, content: bytes) -> bytes:
    """A request as it is sent: the length of its head, the head, the file."""
    head = orjson.dumps(asdict(request))
    return _LENGTH.pack(len(head)) + head + content


def parsed_request(received: bytes) -> tuple[PrepareRequest, bytes]:
    """The request and the file that `request_bytes` put together."""
    (length,) = _LENGTH.unpack_from(received)
    end = _LENGTH.size + length
    return _REQUEST.validate_json(received[_LENGTH.size : end]), received[end:]


def prepared_bytes(document: PreparedDocument) -> bytes:
    """A prepared document as it is sent; the text of its passages is sent once, with its own."""
    return b"".join(prepared_pieces(document))


def prepared_pieces(document: PreparedDocument) -> Iterator[bytes]:
    """The same piece by piece: what lies inside of a document may be large, and is not copied together."""
    done = _Done(
        text=document.text,
        page_starts=document.page_starts,
        chunks=[_sent(prepared) for prepared in document.chunks],
        language=document.language,
        prepared_as=document.prepared_as,
        note=document.note,
        parts=[
            _SentPart(path=part.path, media_type=part.media_type, size=len(part.content)) for part in document.parts
        ],
    )
    yield _answer(done)
    for part in document.parts:
        yield part.content


def refused_bytes(reason: str) -> bytes:
    """The answer that a document could not be read."""
    return _answer(_Refused(reason=reason))


def parsed_answer(received: bytes | bytearray) -> PreparedDocument:
    """The prepared document of an answer.

    Raises  Unreadable: the answer says so. ValueError: it is none, or not all of it.
    """
    if len(received) < _LENGTH.size:
        raise ValueError("no answer")
    (length,) = _LENGTH.unpack_from(received)
    end = _LENGTH.size + length
    answer = _ANSWER.validate_json(bytes(memoryview(received)[_LENGTH.size : end]))
    if isinstance(answer, _Refused):
        raise Unreadable(answer.reason)
    chunks = tuple(_received(answer.text, chunk) for chunk in answer.chunks)
    return PreparedDocument(
        text=answer.text,
        page_starts=answer.page_starts,
        chunks=chunks,
        language=answer.language,
        prepared_as=answer.prepared_as,
        note=answer.note,
        parts=tuple(_parts(answer.parts, memoryview(received)[end:])),
    )


def _answer(answer: _Done | _Refused) -> bytes:
    head = orjson.dumps(answer)
    return _LENGTH.pack(len(head)) + head


def _parts(sent: list[_SentPart], contents: memoryview) -> Iterator[Part]:
    if sum(part.size for part in sent) != len(contents):
        raise ValueError("not all parts of the answer came")
    at = 0
    for part in sent:
        yield Part(path=part.path, media_type=part.media_type, content=bytes(contents[at : at + part.size]))
        at += part.size


def _sent(prepared: PreparedChunk) -> _SentChunk:
    chunk = prepared.chunk
    return _SentChunk(
        ordinal=chunk.ordinal,
        start=chunk.start,
        end=chunk.end,
        page=chunk.page,
        section=chunk.section,
        token_count=chunk.token_count,
        terms=dict(prepared.terms),
        fingerprint=prepared.fingerprint,
    )


def _received(text: str, sent: _SentChunk) -> PreparedChunk:
    chunk = Chunk(
        ordinal=sent.ordinal,
        start=sent.start,
        end=sent.end,
        page=sent.page,
        section=sent.section,
        text=text[sent.start : sent.end],
        token_count=sent.token_count,
    )
    return PreparedChunk(chunk=chunk, terms=sent.terms, fingerprint=sent.fingerprint)
