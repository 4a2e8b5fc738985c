"""One request to an embedding server and its answer, in the words of the OpenAI API; knows nothing of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

import orjson

from domain.backoff import asked_wait_s
from knowledge.embeddings.model import MOST_DIMENSIONS, EmbeddingsRefused, EmbeddingsUnavailable, unit
from knowledge.tokens import count_tokens

MOST_TEXTS: Final = 64
"""Texts in one request; OpenAI takes 2,048, compatible servers often few."""
MOST_TOKENS: Final = 40_000
"""Tokens in one request; OpenAI takes 300,000."""
LONGEST_TEXT: Final = 20_000
"""Characters of one text; OpenAI takes 8,191 tokens, and a passage has 320: only its headings could be cut."""

MOST_TOLD: Final = 1_000_000_000

_TRY_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_OF_TEXTS: Final = frozenset({400, 413, 422})
"""What servers say to a text that is too long, or to too many at once."""
_USED_UP: Final = "insufficient_quota"
"""OpenAI's 429 that no waiting of ours cures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A whole answer of an embedding server."""

    vectors: list[tuple[float, ...]]
    """In the order of the texts, each of length 1."""
    tokens: int | None
    """Of all the texts, as it counts them; None: it does not say."""


def batches(texts: Sequence[str], model: str, most: int = MOST_TEXTS) -> Iterator[Sequence[str]]:
    """The texts in order, so many at once as one request takes, and at most `most`."""
    batch: list[str] = []
    tokens = 0
    for text in texts:
        text = text[:LONGEST_TEXT]
        cost = count_tokens(text, model)
        if batch and (len(batch) == most or tokens + cost > MOST_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += cost
    if batch:
        yield batch


def request_bytes(model: str, texts: Sequence[str]) -> bytes:
    """The body that asks for one vector a text."""
    sendable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    return orjson.dumps({"model": model, "input": sendable, "encoding_format": "float"})


def answer_of(body: bytes, count: int, dimensions: int | None) -> Answered:
    """What an answer says to so many texts.

    Raises  EmbeddingsRefused: it is none, has another number of vectors, or vectors of another size or of no direction.
    """
    try:
        answer = cast("dict[str, list[dict[str, object]]]", orjson.loads(body))
        listed = sorted(answer["data"], key=lambda each: cast(int, each["index"]))
        vectors = [unit(cast("list[float]", each["embedding"])) for each in listed]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EmbeddingsRefused("its answer cannot be read") from error
    if len(vectors) != count or [each["index"] for each in listed] != list(range(count)):
        raise EmbeddingsRefused(f"it answered {len(vectors)} vectors to {count} texts")
    whole = [vector for vector in vectors if vector is not None]
    if len(whole) != count:
        raise EmbeddingsRefused("a vector of its answer points nowhere")
    _check_sizes({len(vector) for vector in whole}, dimensions)
    return Answered(vectors=whole, tokens=_tokens(cast("dict[str, object]", answer)))


def _tokens(answer: Mapping[str, object]) -> int | None:
    """A number of tokens that can be one: what a server makes up beyond that is told by nobody."""
    usage = answer.get("usage")
    told = cast("dict[str, object]", usage).get("prompt_tokens") if isinstance(usage, dict) else None
    return told if type(told) is int and 0 <= told <= MOST_TOLD else None


def _check_sizes(sizes: set[int], dimensions: int | None) -> None:
    if len(sizes) > 1 or max(sizes) > MOST_DIMENSIONS:
        raise EmbeddingsRefused(f"its vectors have {sorted(sizes)} numbers; one size up to {MOST_DIMENSIONS} is needed")
    if dimensions is not None and sizes != {dimensions}:
        raise EmbeddingsRefused(f"its vectors have {max(sizes)} numbers, and this model's have {dimensions}")


def fault_of(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime
) -> EmbeddingsUnavailable | EmbeddingsRefused:
    """Why an answer is none: passing where the server says so by its status."""
    if status in _TRY_AGAIN and _code(body) != _USED_UP:
        return EmbeddingsUnavailable(f"HTTP {status}", asked_wait_s(headers.get("retry-after"), now))
    return EmbeddingsRefused(_refusal(status), of_texts=status in _OF_TEXTS)


def _refusal(status: int) -> str:
    match status:
        case 401 | 403:
            return f"it refuses our key (HTTP {status})"
        case 404:
            return "it does not know this model or address (HTTP 404)"
        case 429:
            return "its quota is used up (HTTP 429)"
        case _:
            return f"it refuses the request (HTTP {status})"


def _code(body: bytes) -> object:
    try:
        return cast("dict[str, dict[str, object]]", orjson.loads(body))["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None
