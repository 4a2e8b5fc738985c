"""What a waiting call names, beside what it says: bound as it stood when a person was asked, and shown to them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from domain.approvals.comparison import leaves

SubjectState = Literal["unchanged", "changed"]

WORKFLOW = "workflow"
"""What a task's kind stands for: no row, but files, whose digest stands in the place of an id."""

_PLACES = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSubject:
    """One thing that a call's arguments name."""

    subject: str
    """What kind of thing it is: `task`, `document`, `engagement` ..."""
    argument: str
    """Where it is named, by its path: `evidence[0].subject`."""
    id: str
    """As the arguments have it: an id, or of a person an e-mail address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSubject:
    """A subject as it stood."""

    subject: str
    argument: str
    digest: str | None
    """SHA-256 as hex, salted; None: there was no such thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSubjects:
    """All that a call named when it was asked about."""

    salt: bytes
    subjects: tuple[BoundSubject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectWords:
    """A subject in words, no longer than somebody reads."""

    words: tuple[tuple[str, str], ...]
    """Names and values."""
    is_whole: bool
    """False: a value is cut, or some are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSubject:
    """A subject as whoever looks at the question sees it now, and whether it is still what was asked about."""

    subject: str
    argument: str
    state: SubjectState
    seen: SubjectWords | None
    """None: they may not see it, or it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSubjects:
    """What a question names."""

    is_bound: bool
    """False: it was asked before this was kept; nobody can say what has changed since."""
    subjects: tuple[ShownSubject, ...] = ()
    left_out: int = 0
    """How many more it names."""


def subjects_in(arguments: str, where: Iterable[tuple[str, str]]) -> tuple[NamedSubject, ...]:
    """What these arguments name. `where`: each kind with its argument; `evidence[].subject` is one of every item."""
    places = [(subject, argument) for subject, argument in where]
    found = dict(leaves(orjson.loads(arguments)))
    return tuple(
        NamedSubject(subject=subject, argument=path, id=value)
        for subject, argument in places
        for path, value in found.items()
        if isinstance(value, str) and _PLACES.sub("[]", path) == argument
    )


def rows_named(bound: BoundSubjects, arguments: str) -> Sequence[tuple[BoundSubject, NamedSubject]]:
    """The rows that were bound, each as the stored arguments name it."""
    found: Mapping[str, object] = dict(leaves(orjson.loads(arguments)))
    return [
        (each, NamedSubject(subject=each.subject, argument=each.argument, id=str(found.get(each.argument, ""))))
        for each in bound.subjects
        if each.subject != WORKFLOW
    ]
