"""What parity of the doors means, as values: the cells, what domain.md says of each, and when two records are the same.

Nothing here asks the policies, the manifests or the gate: the table below is written from domain.md and contract.md, so
that it and they can disagree.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from domain.activity.model import ActivityCall
from domain.kernel import DOORS, Decision, Door, Effect, Level, Mode, PrincipalKind, Role
from tests.support.firms import FIRM_A
from tools.views.calls import activity_json, event_json

Json = dict[str, Any]

MODEL_DOORS: frozenset[Door] = frozenset(DOORS)
"""Doors of the tools that models may see: all of them."""
HAND_DOORS: frozenset[Door] = frozenset({"rest", "cli", "widget", "slack"})
"""Doors of the acts that models never see."""

TALKING_DOORS: frozenset[Door] = frozenset({"chat", "slack", "widget", "cli", "rest"})
"""Doors of what is between a person and the agent that answers them; a client of MCP brings an agent of its own."""

OWN_HANDS: frozenset[Door] = frozenset({"rest", "cli"})
"""Doors of what administers the organization."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One line of contract.md's table of tools."""

    effect: Effect
    least_role: Role
    doors: frozenset[Door] = MODEL_DOORS
    person_only: bool = False
    client_too: bool = False
    """A CLIENT may do it within its own engagement, though the least role is higher."""
    eqr_too: bool = False
    """The engagement quality reviewer may do it, who otherwise only reads."""
    partners: bool = False
    """It takes a PARTNER, unless it is about a filing."""
    client_own_only: bool = False
    """Of its own engagement's tasks a CLIENT changes those that are given to it, or its own."""
    minimum: Level | None = None
    """For what is started as a workflow: from which level on the agent does so without asking."""
    any_level: bool = False
    """What time or a person's word has decided already is written down whatever the autonomy."""
    others_wait: bool = False
    """Done to anybody but oneself it waits for a second person, also by one's own hand."""
    own_answer: bool = False
    """Only who asked may answer: where that is somebody who answers no questions, what would wait is refused."""
    waits: bool = True
    """False: nobody can be asked, since what it works on leaves with the request; what would wait is refused."""


ACTS: Mapping[str, Act] = {
    "knowledge_search": Act(effect="read", least_role=Role.READONLY),
    "knowledge_read": Act(effect="read", least_role=Role.READONLY),
    "task_create": Act(effect="prepare", least_role=Role.EMPLOYEE),
    "task_update": Act(effect="prepare", least_role=Role.EMPLOYEE, client_too=True, client_own_only=True),
    "document_list": Act(effect="read", least_role=Role.READONLY, doors=frozenset({"rest", "cli", "worker"})),
    "figure_list": Act(effect="read", least_role=Role.READONLY, doors=frozenset({"rest", "cli", "worker"})),
    "document_extract": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"rest", "cli", "worker"})),
    "task_remind": Act(effect="commit", least_role=Role.EMPLOYEE, doors=frozenset({"rest", "cli", "worker"})),
    "task_list": Act(effect="read", least_role=Role.READONLY),
    "task_get": Act(effect="read", least_role=Role.READONLY),
    "task_run": Act(effect="prepare", least_role=Role.EMPLOYEE, minimum=Level.L1),
    "task_run_get": Act(effect="read", least_role=Role.READONLY),
    "task_run_cancel": Act(effect="prepare", least_role=Role.EMPLOYEE),
    "autonomy_query": Act(effect="read", least_role=Role.READONLY),
    "analytics_report": Act(effect="read", least_role=Role.EMPLOYEE),
    "call_get": Act(effect="read", least_role=Role.READONLY),
    "policy_replay": Act(effect="read", least_role=Role.MANAGER, doors=frozenset({"cli"})),
    "policy_try": Act(effect="read", least_role=Role.MANAGER, doors=OWN_HANDS),
    "policy_add": Act(effect="commit", least_role=Role.SYSTEM_ADMIN, doors=OWN_HANDS, person_only=True),
    "policy_remove": Act(effect="commit", least_role=Role.SYSTEM_ADMIN, doors=OWN_HANDS, person_only=True),
    "audit_head": Act(effect="read", least_role=Role.READONLY, doors=OWN_HANDS),
    "audit_prove": Act(effect="read", least_role=Role.READONLY, doors=OWN_HANDS),
    "audit_export": Act(effect="read", least_role=Role.MANAGER, doors=OWN_HANDS),
    "privacy_export": Act(effect="read", least_role=Role.PARTNER, doors=OWN_HANDS, person_only=True),
    "privacy_export_own": Act(effect="read", least_role=Role.READONLY, doors=OWN_HANDS, person_only=True),
    "privacy_erase": Act(effect="irreversible", least_role=Role.PARTNER, doors=OWN_HANDS, person_only=True),
    "privacy_erase_step": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), any_level=True),
    "agent_handover": Act(effect="read", least_role=Role.READONLY, doors=frozenset({"chat", "slack", "widget", "cli"})),
    "preference_set": Act(
        effect="prepare", least_role=Role.READONLY, doors=TALKING_DOORS, eqr_too=True, own_answer=True
    ),
    "preference_forget": Act(
        effect="prepare", least_role=Role.READONLY, doors=TALKING_DOORS, eqr_too=True, own_answer=True
    ),
    "autonomy_set": Act(effect="commit", least_role=Role.PARTNER, doors=HAND_DOORS, person_only=True),
    "budget_set": Act(effect="commit", least_role=Role.PARTNER, doors=HAND_DOORS, person_only=True),
    "budget_query": Act(effect="read", least_role=Role.READONLY),
    "autonomy_proposal_decide": Act(effect="commit", least_role=Role.PARTNER, doors=HAND_DOORS, person_only=True),
    "autonomy_review": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), any_level=True),
    "schedule_list": Act(effect="read", least_role=Role.READONLY),
    "schedule_create": Act(effect="commit", least_role=Role.MANAGER, doors=HAND_DOORS, person_only=True),
    "schedule_update": Act(effect="commit", least_role=Role.MANAGER, doors=HAND_DOORS, person_only=True),
    "schedule_delete": Act(effect="commit", least_role=Role.MANAGER, doors=HAND_DOORS, person_only=True),
    "release_check": Act(effect="read", least_role=Role.EMPLOYEE),
    "release_submit": Act(effect="irreversible", least_role=Role.MANAGER, partners=True),
    "signoff_record": Act(effect="commit", least_role=Role.MANAGER, doors=HAND_DOORS, person_only=True, eqr_too=True),
    "evaluation_record": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"rest", "cli"})),
    "feedback_give": Act(effect="prepare", least_role=Role.READONLY, doors=HAND_DOORS, person_only=True),
    "approval_decide": Act(effect="commit", least_role=Role.EMPLOYEE, doors=HAND_DOORS, person_only=True),
    "call_conclude": Act(effect="commit", least_role=Role.MANAGER, doors=OWN_HANDS, person_only=True),
    "delegation_give": Act(effect="commit", least_role=Role.EMPLOYEE, doors=OWN_HANDS, person_only=True),
    "delegation_revoke": Act(effect="commit", least_role=Role.EMPLOYEE, doors=OWN_HANDS, person_only=True),
    "approval_expire": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), any_level=True),
    "approval_remind": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), any_level=True),
    "call_settle": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), any_level=True),
    "approval_cancel": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), any_level=True),
    "identity_link": Act(
        effect="commit",
        least_role=Role.SYSTEM_ADMIN,
        doors=OWN_HANDS,
        person_only=True,
        others_wait=True,
    ),
    "identity_unlink": Act(effect="commit", least_role=Role.SYSTEM_ADMIN, doors=OWN_HANDS, person_only=True),
    "document_upload": Act(
        effect="prepare",
        least_role=Role.EMPLOYEE,
        doors=HAND_DOORS,
        client_too=True,
        waits=False,
    ),
    "document_from_url": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=OWN_HANDS, person_only=True),
    "source_add": Act(effect="commit", least_role=Role.MANAGER, doors=OWN_HANDS, person_only=True),
    "source_change": Act(effect="commit", least_role=Role.MANAGER, doors=OWN_HANDS, person_only=True),
    "source_list": Act(effect="read", least_role=Role.READONLY, doors=frozenset({"rest", "cli", "worker"})),
    "source_report": Act(effect="read", least_role=Role.READONLY, doors=frozenset({"rest", "cli", "worker"})),
    "source_remove": Act(effect="commit", least_role=Role.MANAGER, doors=OWN_HANDS, person_only=True),
    "source_sync": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"})),
    "document_content": Act(effect="read", least_role=Role.READONLY, doors=frozenset({"rest", "cli", "widget"})),
    "document_link": Act(effect="read", least_role=Role.READONLY, doors=frozenset({"rest"})),
    "document_delete": Act(effect="commit", least_role=Role.EMPLOYEE, doors=HAND_DOORS),
    "document_restore": Act(effect="commit", least_role=Role.EMPLOYEE, doors=HAND_DOORS),
    "document_trust_set": Act(effect="commit", least_role=Role.EMPLOYEE, doors=HAND_DOORS, person_only=True),
    "document_purge": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), any_level=True),
    "slack_connect": Act(
        effect="commit",
        least_role=Role.SYSTEM_ADMIN,
        doors=frozenset({"rest", "cli"}),
        person_only=True,
    ),
    "slack_channel_set": Act(
        effect="commit",
        least_role=Role.SYSTEM_ADMIN,
        doors=frozenset({"rest", "cli"}),
        person_only=True,
    ),
    "document_index": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), minimum=Level.L1),
    "document_analyse": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), minimum=Level.L1),
    "document_embed": Act(effect="prepare", least_role=Role.EMPLOYEE, doors=frozenset({"worker"}), minimum=Level.L1),
}

LADDER = (Role.READONLY, Role.EMPLOYEE, Role.MANAGER, Role.PARTNER, Role.SYSTEM_ADMIN)

# domain.md, Autonomy: what the agent's call gets, by effect and then L0 attended, L0 unattended, L1, L2, L3.
_ASK, _NO, _GO = "needs_approval", "deny", "allow"
AUTONOMY: Mapping[Effect, tuple[Decision, Decision, Decision, Decision, Decision]] = {
    "read": (_GO, _NO, _GO, _GO, _GO),
    "prepare": (_ASK, _NO, _ASK, _GO, _GO),
    "commit": (_ASK, _NO, _ASK, _ASK, _GO),
    "irreversible": (_ASK, _NO, _ASK, _ASK, _ASK),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """A member whose floor and ceiling are one level, so that this level is in force."""

    role: Role
    level: Level

    @property
    def kind(self) -> PrincipalKind:
        return "service_account" if self.role is Role.SERVICE_ACCOUNT else "person"

    @property
    def id(self) -> UUID:
        return FIRM_A.id(f"parity {self.role} {self.level.name}")

    @property
    def email(self) -> str:
        return f"{self.role.lower()}.{self.level.name.lower()}@parity.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A principal at a door, as far as the verdict may depend on it."""

    door: Door
    kind: PrincipalKind
    mode: Mode
    attended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """Cells that no door produces, and why."""

    why: str
    holds: Callable[[Cell], bool]


UNREACHABLE: tuple[Unreachable, ...] = (
    Unreachable(
        why="a call chosen by a model is an agent's, whatever credential began it",
        holds=lambda cell: cell.door in ("chat", "mcp") and cell.mode == "person",
    ),
    Unreachable(
        why="background work is an agent's, and nobody waits for its answer",
        holds=lambda cell: cell.door == "worker" and (cell.mode == "person" or cell.attended),
    ),
    Unreachable(
        why="a service account is never attended and never a person's own hand",
        holds=lambda cell: cell.kind == "service_account" and (cell.attended or cell.mode == "person"),
    ),
    Unreachable(
        why="who calls at these doors waits for the answer; schedules, which do not, come later",
        holds=lambda cell: cell.door != "worker" and cell.kind == "person" and not cell.attended,
    ),
    Unreachable(
        why="Slack's users are people: who is a service account's by its address is answered with nothing",
        holds=lambda cell: cell.door == "slack" and cell.kind == "service_account",
    ),
)

DRIVEN: tuple[Door, ...] = ("chat", "mcp", "rest", "cli", "widget", "slack", "worker")
NOT_DRIVEN: Mapping[Door, str] = {}


def cells() -> Iterator[Cell]:
    """Every combination for the doors there are."""
    for door in DRIVEN:
        for kind in cast("tuple[PrincipalKind, ...]", ("person", "service_account")):
            for mode in cast("tuple[Mode, ...]", ("person", "agent")):
                for attended in (True, False):
                    yield Cell(door=door, kind=kind, mode=mode, attended=attended)


def is_unreachable(cell: Cell) -> bool:
    """Whether the list above names the cell."""
    return any(listed.holds(cell) for listed in UNREACHABLE)


def expected(
    act: Act,
    cell: Cell,
    role: Role,
    level: Level,
    *,
    assigns_other: bool = False,
    client_own: bool | None = None,
    client_own_task: bool = True,
    minimum: Level | None = None,
    control: str | None = None,
    ready: bool = True,
    sign_off_kind: str | None = None,
    own_statement: bool = True,
) -> Decision:
    """What domain.md says of the call. `client_own`: what it names is of the client's own engagement; None: nothing.

    `control`, `ready`: the release control that it names, and whether that is satisfied. `own_statement`: what it would
    have remembered is the person's own word.
    """
    if not ready or not _signs(role, sign_off_kind):
        return "deny"
    if act.partners and control not in (None, "filings_submit") and not _reaches(role, Role.PARTNER):
        return "deny"
    if role is Role.CLIENT and act.client_own_only and not client_own_task:
        return "deny"
    by_hand = cell.mode == "person" and cell.kind == "person" and role is not Role.SERVICE_ACCOUNT
    if cell.door not in act.doors or (act.person_only and not by_hand):
        return "deny"
    if not _role_may(act, role, client_own) or (assigns_other and not _reaches(role, Role.MANAGER)):
        return "deny"
    if by_hand:
        waits = act.effect == "irreversible" or (act.others_wait and assigns_other)
        return "needs_approval" if waits else "allow"
    if act.any_level:
        return "allow"
    decision = _autonomy(act.effect, level, attended=cell.attended, minimum=minimum)
    if decision == "allow" and not own_statement:
        decision = "needs_approval"
    answers = act.waits and not (act.own_answer and not _answers(cell, role))
    return "deny" if decision == "needs_approval" and not answers else decision


def _answers(cell: Cell, role: Role) -> bool:
    """Whether somebody of the role decides approvals at all."""
    return cell.kind == "person" and _reaches(role, Role.EMPLOYEE)


def _role_may(act: Act, role: Role, client_own: bool | None) -> bool:
    match role:
        case Role.CLIENT if client_own is False:
            return False
        case Role.CLIENT:
            return act.least_role is Role.READONLY or (act.client_too and client_own is True)
        case Role.EQR:
            return act.effect == "read" or act.eqr_too
        case _:
            return _reaches(role, act.least_role)


def _signs(role: Role, kind: str | None) -> bool:
    match kind:
        case None:
            return True
        case "EQR_REVIEW":
            return role is Role.EQR
        case "PLAN_REVIEW" | "REPORT_FINAL":
            return _reaches(role, Role.PARTNER)
        case _:
            return _reaches(role, Role.MANAGER)


def _reaches(role: Role, least: Role) -> bool:
    acts_as = {Role.SERVICE_ACCOUNT: Role.EMPLOYEE, Role.CLIENT: Role.READONLY, Role.EQR: Role.READONLY}
    return LADDER.index(acts_as.get(role, role)) >= LADDER.index(least)


def _autonomy(effect: Effect, level: Level, *, attended: bool, minimum: Level | None) -> Decision:
    if level is Level.L0 and not attended:
        return "deny"
    if effect == "prepare" and minimum is not None:
        return "allow" if level >= minimum else "needs_approval"
    column = 0 if level is Level.L0 else level + 1
    return AUTONOMY[effect][column]


# The record -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a door told its caller of one call; `decision` is "untold" where the door has no words for it."""

    call_id: UUID | None
    outcome: str | None
    decision: str | None = "untold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One call through one door: what was asked, what the door told, and what the record says."""

    entrance: str
    """The door and the way in: `mcp legacy`."""
    cell: Cell
    case: str
    tool: str
    who: Who
    expected: Decision | None
    """None: it is refused before a verdict, for its form."""
    told: Told
    recorded: ActivityCall | None

    @property
    def offered(self) -> bool:
        act = ACTS.get(self.tool)
        return act is None or self.cell.door in act.doors

    @property
    def twins(self) -> tuple[object, ...]:
        """What this call has in common with those that must be recorded alike.

        Whether anybody waits is a difference at L0 only.  Source  domain.md, Autonomy.
        """
        attended = self.cell.attended if self.who.level is Level.L0 else None
        return (self.case, self.who, self.cell.mode, attended, self.offered)

    def __str__(self) -> str:
        return f"{self.case} by {self.who.role} at {self.who.level.name} through {self.entrance}"


def assert_parity(seen: Sequence[Seen]) -> None:
    """Every call was decided as domain.md says, recorded as it was decided, and recorded alike at every door.

    Raises  AssertionError: naming calls that differ, one of each case, tool and pair of entrances.
    """
    twins: dict[tuple[object, ...], list[Seen]] = defaultdict(list)
    for each in seen:
        _assert_recorded(each)
        twins[each.twins].append(each)
    differing: dict[tuple[str, str, str], str] = {}
    for first, *others in twins.values():
        for other in others:
            if words := _difference(first, other):
                differing.setdefault((first.case, first.entrance, other.entrance), words)
    assert not differing, "\n".join(differing.values())


def _difference(one: Seen, other: Seen) -> str:
    its, others = record_of(one), record_of(other)
    different = {
        name: (its.get(name), others.get(name)) for name in {*its, *others} if its.get(name) != others.get(name)
    }
    return f"{one} is not recorded as {other} is: {different}" if different else ""


def _assert_recorded(seen: Seen) -> None:
    recorded, told = seen.recorded, seen.told
    assert recorded is not None, f"{seen}: told {told}, and not recorded"
    item = recorded.item
    assert item.decision == seen.expected, f"{seen}: {item.decision} for {item.reasons}, not {seen.expected}"
    assert told.outcome == item.outcome, f"{seen}: told {told.outcome}, recorded {item.outcome}"
    assert told.decision in (item.decision, "untold"), f"{seen}: told {told.decision}, recorded {item.decision}"
    at_door = (item.door, item.mode, item.principal, item.role, item.tool)
    assert at_door == (seen.cell.door, seen.cell.mode, seen.who.email, seen.who.role, seen.tool), f"{seen}: {at_door}"
    if seen.expected == "deny":
        assert item.outcome == "denied", f"{seen}: {item.outcome}"
    if seen.expected is not None and not seen.offered:
        assert "door_not_offered" in item.reasons, f"{seen}: {item.reasons}"


_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*(Z|[+-]\d\d:\d\d)")
_OF_THE_DOOR = frozenset({"door", "time", "call_id", "duration_ms", "conversation_id", "run_id", "approval_id"})
_OF_THE_MOMENT = frozenset({"pending_approvals", "conversation_id"})
"""What a result tells of the calls made before, and of where something was said."""


def record_of(seen: Seen) -> Json:
    """The activity item with its events, but for door, ids, times and durations; and whether it left a question."""
    assert seen.recorded is not None
    call = seen.recorded
    item = {**activity_json(call.item), "events": [event_json(step) for step in call.steps]}
    kept = {name: _placeless(value) for name, value in item.items() if name not in _OF_THE_DOOR}
    return {**kept, "waits": seen.recorded.item.approval_id is not None}


def _placeless(value: object) -> object:
    if isinstance(value, dict):
        members = cast(Json, value)
        return {name: _placeless(each) for name, each in members.items() if name not in _OF_THE_MOMENT}
    if isinstance(value, list):
        return [_placeless(each) for each in cast("list[object]", value)]
    if isinstance(value, str):
        return _TIME.sub("<time>", _UUID.sub("<id>", value))
    return value
