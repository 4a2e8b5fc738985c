"""What became of the agent's calls, what that comes to for a tool, and proposals that rest on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NewType, get_args
from uuid import UUID

from domain.kernel import CallId, Effect, Level, PrincipalId
from domain.paging import FIRST_PAGE, PageRequest

ProposalId = NewType("ProposalId", UUID)
Mark = Literal["approved", "own", "unasked", "rejected", "failed"]
"""approved: by somebody else than who asked, and done; own: by who asked; unasked: done without a question."""
Earning = Literal["prepare", "commit"]
"""The effects whose autonomy can be earned: reading needs none, and what cannot be undone always takes a person."""
ProposalState = Literal["open", "accepted", "rejected", "withdrawn"]
ProposalAnswer = Literal["accept", "reject"]

EARNING: tuple[Earning, ...] = get_args(Earning)
ASKS: Mapping[Earning, Level] = {"prepare": Level.L1, "commit": Level.L2}
"""The highest level at which the agent still asks before a call of the effect.  Source  domain.md, Autonomy."""
UPKEEP = frozenset(
    {
        "approval_cancel",
        "approval_expire",
        "approval_remind",
        "autonomy_review",
        "call_settle",
        "document_analyse",
        "document_embed",
        "document_index",
        "document_purge",
        "privacy_erase_step",
    }
)
"""What the hub writes down, and the background work on documents, whatever the autonomy: nobody lets it do so, and
nobody would take it back."""
ASKS_OF_ITS_OWN: Mapping[str, Level] = {"task_run": Level.L0}
"""Of a tool that acts from a level that its manifest or its workflow names: one below the lowest of these."""


def asks_at(tool: str, effect: Earning) -> Level:
    """The highest level at which the agent still asks before every call of the tool."""
    return ASKS_OF_ITS_OWN.get(tool, ASKS[effect])


def acts_from(effect: Earning) -> Level:
    """The lowest level at which the agent makes a call of the effect without asking."""
    return Level(ASKS[effect] + 1)


def earning_of(effect: Effect | None) -> Earning | None:
    """The effect, where its autonomy can be earned."""
    return effect if effect in EARNING else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingRules:
    """What a tool's record is counted by."""

    z: float = 1.96
    """Of the normal distribution: 1.96 bounds 95 % from both sides."""
    window_calls: int = 200
    """A tool's newest counted calls; what lies before them is forgotten."""
    reversal_days: int = 30
    """How long after a call its undoing by a person counts against it."""

    @property
    def reversed_within(self) -> timedelta:
        return timedelta(days=self.reversal_days)

    def members(self) -> dict[str, object]:
        """As they are kept beside what was counted by them."""
        return {"reversal_days": self.reversal_days, "window_calls": self.window_calls, "z": self.z}


@dataclass(frozen=True, slots=True, kw_only=True)
class EarnedRules:
    """When a raise is proposed, and when autonomy is taken back.  Source  config/system.yaml, autonomy."""

    counting: CountingRules = CountingRules()
    minimum_calls: int = 30
    """Counted calls since the tool's ceiling was set last, or a proposal decided."""
    bound_to_raise: Mapping[Earning, float] = field(default_factory=lambda: {"prepare": 0.9, "commit": 0.95})
    incident_calls: int = 20
    """The newest calls that are looked at when one goes wrong; none from before the tool's ceiling was set last."""
    incidents_to_lower: int = 3
    """So many of them rejected, failed or reversed take the autonomy back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call of the agent's that changes something, or would have, and how it ended."""

    index: int
    """Of the event that ended it, in the ledger."""
    call_id: CallId
    tool: str
    effect: Earning
    at: datetime
    mark: Mark
    made: UUID | None
    """What it made, where a person can undo that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """A call by a person's own hand that undoes what a call made."""

    index: int
    call_id: CallId
    at: datetime
    tools: frozenset[str]
    """Those by any of which the thing was made, or came to be as it was."""
    thing: UUID


Finding = Ended | Undoing


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedCall:
    """One call that counts, for or against the agent."""

    call_id: CallId
    ended_index: int
    ended_at: datetime
    mark: Literal["approved", "rejected", "failed", "reversed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many of a tool's calls were approved unchanged by somebody else and stood, and how many went wrong."""

    approved: int = 0
    rejected: int = 0
    failed: int = 0
    reversed: int = 0
    bound: float = 0.0
    """Lower end of the Wilson score interval of `approved` among all four."""

    @property
    def calls(self) -> int:
        return self.approved + self.rejected + self.failed + self.reversed


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRecord:
    """What the record comes to for one tool."""

    tool: str
    effect: Earning
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the ledger has been read, and by which rules the records were counted."""

    through: int
    """The number of events read."""
    rules: CountingRules | None
    """None: nothing was counted yet."""
    reviewed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCeiling:
    """A tool's own ceiling as it was set last."""

    level: Level | None
    """None: it has none."""
    set_at: datetime | None
    """None: it was never set."""

    @property
    def most(self) -> Level:
        return Level.L3 if self.level is None else self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestCall:
    """How one of the agent's newest calls of a tool ended, sealed or not."""

    call_id: CallId
    effect: Earning
    how: Literal["done", "failed", "rejected"]
    at: datetime
    reversed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Too many of a tool's newest calls went wrong."""

    tool: str
    calls: tuple[CallId, ...]
    """Those that went wrong, newest first."""
    of: int
    """How many were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a proposal rests on."""

    tally: Tally
    needed: float
    """The bound that was to be reached."""
    since: datetime | None
    """None: from the beginning of the record."""
    rules: CountingRules
    calls: tuple[CountedCall, ...]
    """Every call that was counted, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """What the record bears: the tool's ceiling raised to where the agent need not ask."""

    from_level: Level
    to_level: Level
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProposal:
    """A raise that the record bears."""

    proposal_id: ProposalId
    tool: str
    from_level: Level
    to_level: Level
    evidence: str
    """As JSON text."""
    through: int
    proposed_by: PrincipalId
    proposed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposal to raise a tool's ceiling, and what became of it."""

    proposal_id: ProposalId
    tool: str
    from_level: Level
    to_level: Level
    evidence: str
    through: int
    state: ProposalState
    proposed_at: datetime
    decided_by: str | None
    """An e-mail address."""
    decided_at: datetime | None
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalQuery:
    """Which proposals; None leaves the filter out."""

    page: PageRequest = FIRST_PAGE
    state: ProposalState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What a review found and did."""

    through: int
    more: bool
    """The ledger goes on beyond what was read."""
    reversed: tuple[tuple[CallId, CallId], ...] = ()
    """Calls that were undone, each with the call that did."""
    lowered: tuple[tuple[str, Level], ...] = ()
    proposed: tuple[ProposalId, ...] = ()
    withdrawn: tuple[ProposalId, ...] = ()
