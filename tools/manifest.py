"""What one tool is, as its YAML file says: the only place that knows its doors, its effect and its least role."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import orjson

from domain.kernel import Door, Effect, Level, Role, Trust

Json = dict[str, object]
Subject = Literal["task", "task_run", "document", "engagement", "assignee", "approval"]


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
    control: str | None
    """The release control that must be satisfied first."""
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
    arguments: Json = field(repr=False)
    result: Json = field(repr=False)
    standards: tuple[str, ...] = ()

    @property
    def may_write(self) -> bool:
        """True when calls take a ticket; a read runs in a READ ONLY transaction."""
        return self.effect != "read"

    @property
    def digest(self) -> bytes:
        """SHA-256 of what binds an approval: effect, schemas, roles, controls; not the words."""
        binding = {
            "name": self.name,
            "effect": self.effect,
            "least_role": str(self.least_role),
            "extra_roles": sorted(self.extra_roles),
            "doors": sorted(self.doors),
            "writes": sorted(self.writes),
            "approval": [str(self.approval.role), self.approval.four_eyes, self.approval.expires_after.total_seconds()],
            "control": self.control,
            "person_only": self.person_only,
            "autonomy": [self.autonomy, self.minimum_autonomy],
            "subjects": dict(self.subjects),
            "arguments": self.arguments,
            "result": self.result,
        }
        return hashlib.sha256(orjson.dumps(binding, option=orjson.OPT_SORT_KEYS)).digest()
