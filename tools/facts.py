"""The facts a verdict rests on: what the database said of principal, tool and arguments, typed once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

import orjson

from domain.autonomy.model import AutonomyRange
from domain.budgets.model import BudgetLeft, BudgetScope, Measure
from domain.kernel import DEFAULT_LEVEL, Audience, EngagementId, Level, Role
from domain.policies.model import OwnPolicies, UnreadPolicies
from domain.taint import Taint, parse_taint
from domain.tasks.model import OBJECTIVE

Json = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the database said at the moment of the verdict, under the principal's own row level security.

    `subjects` holds one entry for each subject the manifest names and the arguments carry: its facts, or None where
    this principal can see no such thing.
    """

    role: Role | None
    """None: no membership in the organization."""
    range: AutonomyRange
    subjects: dict[str, Json | None]
    control_state: str
    """not_applicable, satisfied, pending or changes_required."""
    control_missing: tuple[str, ...]
    policies: OwnPolicies | UnreadPolicies | None = None
    """The organization's own that are in force; None: it has none."""
    budgets: tuple[BudgetLeft, ...] = ()
    """Those in force for the principal; of each run what it begins with."""

    def in_run(self, taken: Mapping[Measure, int]) -> "Facts":
        """The same of a call in a run in which so much is used or held already."""
        budgets = tuple(
            each if each.scope != "run" else replace(each, left=max(each.left - taken.get(each.measure, 0), 0))
            for each in self.budgets
        )
        return replace(self, budgets=budgets)

    def budgets_in(self, run_id: UUID | None) -> tuple[BudgetLeft, ...]:
        """Those that count for what is done in that run, of the agent or of a task, or in none."""
        return self.budgets if run_id is not None else tuple(each for each in self.budgets if each.scope != "run")

    @property
    def missing(self) -> tuple[str, ...]:
        """The subjects that do not exist for this principal."""
        return tuple(sorted(name for name, found in self.subjects.items() if found is None))

    @property
    def engagement_id(self) -> EngagementId | None:
        """The engagement of what the call speaks of; of a task that moves to another, the one that it leaves."""
        for subject in ("task", "task_run", "document", "deleted_document", "approval", "open_call", "engagement"):
            found = self.of(subject, "engagement_id")
            if isinstance(found, str):
                return EngagementId(UUID(found))
        return None

    @property
    def turn(self) -> Taint | None:
        """What has entered the turn that the call belongs to; None: it was not asked for."""
        found = self.subjects.get("turn")
        return None if found is None else parse_taint(found)

    @property
    def shown_in(self) -> EngagementId | None:
        """The engagement in which the call would show something; of a task that moves, the one that it enters."""
        for subject in ("engagement", "task"):
            found = self.of(subject, "engagement_id")
            if isinstance(found, str):
                return EngagementId(UUID(found))
        return None

    def of(self, subject: str, key: str) -> object:
        """One fact about a subject; None where there is none."""
        found = self.subjects.get(subject)
        return None if found is None else found.get(key)


def shown_by(tool: str, arguments: Mapping[str, object], facts: Facts) -> Audience | None:
    """For whom that was meant which a call would show to clients; None: it shows clients nothing.

    `client`: the call's own words, which are as restricted as what they were made of. `firm`: besides those something
    that these clients do not see so far, whatever the words: a task of the firm's own that is given to a client, one
    that moves to the clients of another engagement, or the answer of an agent that will read what the client may not,
    on a task that the client sees.
    """
    seen = facts.of("task", "audience") == "client"
    match tool:
        case "task_create":
            return "client" if facts.of("assignee", "client") is True else None
        case "task_update":
            given = facts.of("assignee", "client") is True
            if not given and (not seen or "assignee" in arguments):
                return None
            return "client" if seen and not _moves(arguments, facts) else "firm"
        case "task_remind":
            return "client" if seen else None
        case "task_run":
            if not seen:
                return None
            if facts.of("task", "kind") == OBJECTIVE:
                return "firm"
            # Whoever sees a task sees what its runs were started with.
            return "client" if arguments.get("input") else None
        case "document_upload":
            return "client" if arguments.get("audience") == "client" else None
        case _:
            return None


def _moves(arguments: Mapping[str, object], facts: Facts) -> bool:
    """Whether the task would enter another engagement: what stands on it, other clients have not seen."""
    if "engagement_id" not in arguments:
        return False
    entered = arguments["engagement_id"]
    return not isinstance(entered, str) or entered.lower() != facts.of("task", "engagement_id")


def parse_facts(text: str | bytes, asked: frozenset[str]) -> Facts:
    """The answer of glow.begin_call, typed; `asked` are the subjects that were asked for.

    Of the organization's own policies it tells the digest alone.
    """
    raw = cast(Json, orjson.loads(text))
    role = raw.get("role")
    control = cast(Json, raw.get("control") or {})
    digest = cast("str | None", raw.get("policies"))
    return Facts(
        role=None if role is None else Role(cast(str, role)),
        range=AutonomyRange(
            organization_level=_level(raw.get("organization_level"), DEFAULT_LEVEL),
            floor=_level(raw.get("floor"), Level.L0),
            ceiling=_level(raw.get("ceiling"), Level.L0),
            tool_ceiling=_level(raw.get("tool_ceiling"), Level.L3),
            autopilot_disabled=raw.get("autopilot_disabled") is True,
        ),
        subjects={name: cast("Json | None", raw.get(name)) for name in sorted(asked)},
        control_state=cast(str, control.get("state", "not_applicable")),
        control_missing=tuple(cast("list[str]", control.get("missing", []))),
        policies=None if digest is None else UnreadPolicies(digest=bytes.fromhex(digest)),
        budgets=tuple(map(_budget, cast("list[Json]", raw.get("budgets") or []))),
    )


def _budget(raw: Json) -> BudgetLeft:
    return BudgetLeft(
        scope=cast(BudgetScope, raw["scope"]), measure=cast(Measure, raw["measure"]), left=cast(int, raw["left"])
    )


def _level(value: object, absent: Level) -> Level:
    return Level(cast(int, value)) if value is not None else absent
