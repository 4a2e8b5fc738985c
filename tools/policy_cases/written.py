"""The form of a test as its file has it; what it means is for `reading` to say."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from domain.kernel import Decision, Door, Mode, PrincipalKind, Role

Json = dict[str, object]
T = TypeVar("T")


def _each(value: object) -> object:
    """One value stands for a list of one."""
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _none_is_nobody(value: object) -> object:
    """`none` is the word for a stranger; YAML's own null is more often a value that was forgotten."""
    return None if value == "none" else value if value is not None else ""


OneOrMore = Annotated[tuple[T, ...], BeforeValidator(_each), Field(min_length=1)]
WhoseRole = Annotated[Role | None, BeforeValidator(_none_is_nobody)]


class WrittenTest(BaseModel):
    """One entry under `tests:`."""

    model_config = ConfigDict(extra="forbid", strict=False)

    name: Annotated[str, Field(min_length=1)]
    role: OneOrMore[WhoseRole]
    """Of whoever calls; `none`: no membership."""
    tool: OneOrMore[str]
    mode: OneOrMore[Mode] = ("agent",)
    door: OneOrMore[Door] | None = None
    """Left out: `chat` for the agent, `rest` for a person's own hand."""
    level: OneOrMore[Literal["L0", "L1", "L2", "L3"]] = ("L2",)
    kind: PrincipalKind | None = None
    attended: Annotated[bool | None, Field(strict=True)] = None
    arguments: Json = {}
    workflow: str | None = None
    """The kind of the task that is started."""
    facts: Json = {}
    approved: Annotated[bool, Field(strict=True)] = False
    """A person has approved this very call."""
    expect: Decision
    reasons: tuple[str, ...] | None = None
    decided_by: Role | None = None
    four_eyes: Annotated[bool | None, Field(strict=True)] = None


def written_test(raw: object) -> WrittenTest | list[str]:
    """The entry, or what is wrong with it: each fault begins with its key."""
    try:
        return WrittenTest.model_validate(raw)
    except ValidationError as refused:
        return _faults(refused)


def _faults(refused: ValidationError) -> list[str]:
    """The same key is told once, in the words of its first fault."""
    told: dict[str, str] = {}
    for error in refused.errors(include_url=False, include_context=False, include_input=False):
        key = _key(error["loc"])
        words = "there is no such key" if error["type"] == "extra_forbidden" else error["msg"]
        told.setdefault(key, f"{key}: {words}" if key else words)
    return list(told.values())


def _key(place: Sequence[int | str]) -> str:
    return str(place[0]) if place else ""
