"""The lines of an export, and proofs and heads, as they are read back: exact shapes, in exactly one spelling."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from domain.ledger.model import canonical

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
Size = Annotated[int, Field(ge=0, le=2**53)]
Json = dict[str, object]


class Shape(BaseModel):
    """A JSON object of these members and no other."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class HeaderLine(Shape):
    exported_at: str
    organization_id: str
    payloads: bool
    size: Size
    type: Literal["ledger"]
    version: Literal[1]


class KeyLine(Shape):
    from_size: Size
    introduced_at: str
    key_id: Hash
    public_key: Hash
    type: Literal["key"]


class HeadLine(Shape):
    chain: Hash
    key_id: Hash
    organization_id: str
    root: Hash
    sealed_at: str
    signature: Signature
    size: Annotated[int, Field(ge=1, le=2**53)]
    type: Literal["head"]
    version: Literal[1]

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return b"glow ledger head\n" + canonical(self.model_dump(exclude={"signature"}))


class RotationLine(Shape):
    after_size: Annotated[int, Field(ge=1, le=2**53)]
    from_key_id: Hash
    from_public_key: Hash
    from_signature: Signature
    organization_id: str
    rotated_at: str
    to_key_id: Hash
    to_public_key: Hash
    to_signature: Signature
    type: Literal["rotation"]
    version: Literal[1]

    def signed_bytes(self) -> bytes:
        """What both signatures are over."""
        signatures = {"from_signature", "to_signature"}
        return b"glow ledger rotation\n" + canonical(self.model_dump(exclude=signatures))


class PayloadMember(Shape):
    arguments: str | None
    result: str | None
    salt: Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]


class EventLine(Shape):
    chain: Hash
    event: Json | None
    index: Size
    leaf: Hash
    payload: PayloadMember | None
    type: Literal["event"]


class BrokenOffLine(Shape):
    type: Literal["broken_off"]
    why: str


class ProvedMember(Shape):
    event: Json
    index: Size
    leaf: Hash
    path: list[Hash]


class ProofFile(Shape):
    call_id: str
    consistency: list[Hash] = []
    events: list[ProvedMember]
    head: HeadLine | None
    key: KeyLine | None
    rotations: list[RotationLine] = []
    since: Size | None = None
    type: Literal["proof"]
    unsealed: Size
    version: Literal[1]


class _Holding(Shape):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    head: HeadLine


class _Anything(Shape):
    model_config = ConfigDict(extra="ignore")


class HeadFile(Shape):
    """What `glow audit head` prints."""

    consistency: list[Hash] = []
    head: HeadLine | None
    key: KeyLine | None = None
    organization_id: str
    rotations: list[RotationLine] = []
    since: Size | None = None


Line = HeaderLine | KeyLine | HeadLine | RotationLine | EventLine | BrokenOffLine
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])
_Model = TypeVar("_Model", bound=Shape)


def read_line(line: bytes) -> Line | None:
    """A line, without its end; None: it is none of an export, or not written as one is."""
    try:
        value: object = orjson.loads(line)
        return _LINE.validate_python(value) if canonical(value) == line else None
    except (ValueError, TypeError):
        return None


def read_whole(content: bytes, shape: type[_Model]) -> _Model | None:
    """A file that is one JSON object, however it is indented; None: it is none of this shape."""
    try:
        value: object = orjson.loads(content)
        canonical(value)
        return shape.model_validate(value)
    except (ValidationError, ValueError, TypeError):
        return None


def kept_heads(content: bytes) -> Sequence[HeadLine]:
    """The heads in a file: one by itself, as `glow audit head` prints it, in a proof, or one on each line."""
    whole = _kept_head(content)
    if whole is not None:
        return [whole]
    # What an append that was cut off has left is no line.
    lines = [line for line in content.split(b"\n") if read_whole(line, _Anything) is not None]
    found = [head for line in lines if (head := _kept_head(line)) is not None]
    return found if len(found) == len(lines) else []


def kept_of(heads: Sequence[HeadLine], organization_id: str | None) -> Sequence[HeadLine]:
    """Of the heads in a file those of that organization; where it has none of it, one that says so."""
    return [head for head in heads if head.organization_id == organization_id] or heads[:1]


def _kept_head(content: bytes) -> HeadLine | None:
    holding = read_whole(content, _Holding)
    return read_whole(content, HeadLine) if holding is None else holding.head
