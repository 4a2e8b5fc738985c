"""What one tool is, as its YAML file says: the only place that knows its doors, its effect and its least role."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import orjson

from domain.kernel import Door, Effect, Level, Role, Trust

Json = dict[str, object]
Subject = Literal[
    "task",
    "task_run",
    "document",
    "deleted_document",
    "engagement",
    "assignee",
    "approval",
    "open_call",
    "step_of",
    "statement",
    "delegate",
    "delegation",
    "turn",
]
"""`step_of` is no argument's: the task run that a call is a step of. `statement`: words, as said in a run's message.
`turn` neither: what has entered the turn of the agent's that the call belongs to."""


Bound = Literal[
    "task",
    "task_runs",
    "task_run",
    "document",
    "engagement",
    "sign_offs",
    "person",
    "delegation",
    "schedule",
    "source",
    "preference",
    "autonomy_proposal",
]
"""What a question binds beside the call's words, as `glow.subject_words` knows it. `task_runs`: what a task's runs were
given and said; `sign_offs`: those of an engagement."""
BOUND_OF: Mapping[Subject, Bound] = {
    "task": "task",
    "task_run": "task_run",
    "document": "document",
    "engagement": "engagement",
    "assignee": "person",
    "delegate": "person",
    "delegation": "delegation",
}
"""What is bound of itself, since policy looks it up for its verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One more thing that a call of the tool names, or acts on."""

    subject: Bound
    argument: str
    """`evidence[].subject`: one of every item."""
    given: tuple[str, ...] = ()
    """Only where the call has one of these arguments; none: always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromArgument:
    """A word that policy needs and only the call says: the value of one of its arguments, which are checked first."""

    argument: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """Who may decide a waiting call of this tool, whether four eyes are needed, and how long the question stands."""

    role: Role
    four_eyes: bool
    expires_after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One tool. Arguments and result are JSON Schema 2020-12."""

    name: str
    version: str
    title: str
    description: str
    """The words for the model."""
    effect: Effect
    least_role: Role
    extra_roles: tuple[Role, ...] = ()
    """Roles beside the ladder that may call it besides: CLIENT for uploads, EQR for reads as a PARTNER."""
    doors: frozenset[Door]
    writes: tuple[str, ...]
    """Tables that its ticket opens."""
    approval: ApprovalRule
    control: str | FromArgument | None
    """The release control that must be satisfied first."""
    sign_off_kind: FromArgument | None = None
    """Which argument says what kind of sign-off is recorded."""
    outside: bool = False
    """It acts outside: its ticket is committed as an intent before, its outcome after."""
    person_only: bool = False
    """Deciding, signing off, changing settings: never an agent's call."""
    autonomy: Literal["effect", "workflow"] = "effect"
    """`workflow`: a minimum autonomy stands in for the table's row: the task's workflow's, or else the next."""
    minimum_autonomy: Level | None = None
    timeout: timedelta
    result_limit: int
    """Bytes of canonical JSON."""
    trust: Trust
    """Trust of what it returns."""
    subjects: Mapping[Subject, str]
    """Which argument names what the facts are looked up for: {"task": "task_id"}."""
    binds: tuple[Binding, ...] = ()
    """What a question binds besides those; no part of the digest: what a question has bound is kept with it."""
    arguments: Json = field(repr=False)
    result: Json = field(repr=False)
    standards: tuple[str, ...] = ()

    digest: bytes = field(init=False, repr=False)
    """SHA-256 of what binds an approval: effect, schemas, roles, controls; not the words."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(orjson.dumps(_binding(self), option=_SORTED)).digest())

    def control_in(self, arguments: Json) -> str | None:
        """The release control that a call with these arguments must satisfy; None: none, or none that is named yet."""
        return _said(self.control, arguments)

    def sign_off_kind_in(self, arguments: Json) -> str | None:
        """The kind of sign-off that a call with these arguments records."""
        return _said(self.sign_off_kind, arguments)

    def bound_in(self, arguments: Json) -> Iterator[tuple[Bound, str]]:
        """Each kind of thing that a call with these arguments names, with the argument that names it."""
        for subject, argument in self.subjects.items():
            if subject in BOUND_OF:
                yield BOUND_OF[subject], argument
        for binding in self.binds:
            if not binding.given or any(name in arguments for name in binding.given):
                yield binding.subject, binding.argument

    @property
    def counted(self) -> bool:
        """Whether its calls count in budgets of calls.

        Not what takes a person's own hand, by which budgets are set too, nor what the worker alone does to end what
        was begun before.
        """
        return not self.person_only and bool(self.doors - _WORKERS)

    @property
    def may_write(self) -> bool:
        """True when calls take a ticket; a read runs in a READ ONLY transaction."""
        return self.effect != "read"


_WORKERS: frozenset[Door] = frozenset({"worker"})
_SORTED = orjson.OPT_SORT_KEYS


def _said(word: str | FromArgument | None, arguments: Json) -> str | None:
    if not isinstance(word, FromArgument):
        return word
    value = arguments.get(word.argument)
    return value if isinstance(value, str) else None


def _word(word: str | FromArgument | None) -> str | Json | None:
    return {"argument": word.argument} if isinstance(word, FromArgument) else word


def _binding(manifest: Manifest) -> Json:
    """What a change of makes another tool of it, as far as an approval is concerned."""
    rule = manifest.approval
    return {
        "name": manifest.name,
        "effect": manifest.effect,
        "least_role": str(manifest.least_role),
        "extra_roles": sorted(manifest.extra_roles),
        "doors": sorted(manifest.doors),
        "writes": sorted(manifest.writes),
        "approval": [str(rule.role), rule.four_eyes, rule.expires_after.total_seconds()],
        "control": _word(manifest.control),
        "sign_off_kind": _word(manifest.sign_off_kind),
        "person_only": manifest.person_only,
        **({"outside": True} if manifest.outside else {}),
        "autonomy": [manifest.autonomy, manifest.minimum_autonomy],
        "subjects": dict(manifest.subjects),
        "arguments": manifest.arguments,
        "result": manifest.result,
    }
