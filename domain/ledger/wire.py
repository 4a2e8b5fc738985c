"""The lines of an export, and proofs and heads, as they are read back: exact shapes, in exactly one spelling."""

from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from domain.ledger.model import canonical

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
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
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
    size: Annotated[int, Field(ge=1, le=2**53)]
    type: Literal["head"]
    version: Literal[1]

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return b"glow ledger head\n" + canonical(self.model_dump(exclude={"signature"}))


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
    events: list[ProvedMember]
    head: HeadLine | None
    key: KeyLine | None
    type: Literal["proof"]
    unsealed: Size
    version: Literal[1]


class _Holding(Shape):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    head: HeadLine


class HeadFile(Shape):
    """What `glow audit head` prints."""

    consistency: list[Hash] = []
    head: HeadLine | None
    organization_id: str
    since: Size | None = None


Line = HeaderLine | KeyLine | HeadLine | EventLine | BrokenOffLine
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


def kept_head(content: bytes) -> HeadLine | None:
    """The head in a file: by itself, as `glow audit head` prints it, or in a proof; None: there is none."""
    holding = read_whole(content, _Holding)
    return read_whole(content, HeadLine) if holding is None else holding.head
