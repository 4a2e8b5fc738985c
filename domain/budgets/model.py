"""Budgets as they are set, what is used of them, and what is held of them while something is under way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NewType
from uuid import UUID

from domain.kernel import Effect, PrincipalId
from domain.paging import FIRST_PAGE, PageRequest

BudgetSettingId = NewType("BudgetSettingId", UUID)
BudgetScope = Literal["organization", "member", "run"]
BudgetKind = Literal["money", "tokens", "calls"]
Measure = Literal["money", "tokens", "calls:read", "calls:prepare", "calls:commit", "calls:irreversible"]
"""What is counted, as the database names it: millionths of a US dollar, tokens, or calls of an effect."""
MICROS = 1_000_000
MODEL_MEASURES: frozenset[Measure] = frozenset({"money", "tokens"})
"""What models use."""


def calls_of(effect: Effect) -> Measure:
    """The measure that calls of an effect are counted by."""
    measures: Mapping[Effect, Measure] = {
        "read": "calls:read",
        "prepare": "calls:prepare",
        "commit": "calls:commit",
        "irreversible": "calls:irreversible",
    }
    return measures[effect]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLeft:
    """A budget that is in force for a principal, and what is left of it: of scope run, what each run begins with."""

    scope: BudgetScope
    measure: Measure
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBudget:
    """A budget as it was asked for."""

    scope: BudgetScope
    member: str | None
    """An e-mail address, of scope member."""
    measure: Measure
    most: int | None
    """None: no budget any more."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBudgetSetting:
    """A setting ready to be stored."""

    setting_id: BudgetSettingId
    scope: BudgetScope
    member_id: PrincipalId | None
    measure: Measure
    most: int | None
    reason: str
    changed_by: PrincipalId
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSetting:
    """One entry of the history; the newest of its scope, member and measure is in force."""

    setting_id: BudgetSettingId
    scope: BudgetScope
    member: str | None
    """E-mail addresses, as `changed_by`."""
    measure: Measure
    most: int | None
    reason: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettingQuery:
    """Which of the history; None leaves the filter out."""

    page: PageRequest = FIRST_PAGE
    scope: BudgetScope | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """A budget in force with what is used and held of it; of scope run, of the run that was asked about, if any."""

    scope: BudgetScope
    member: str | None
    """An e-mail address."""
    measure: Measure
    most: int
    used: int
    reserved: int
    """Held by what is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Whose budgets something is held of."""

    organization_id: UUID
    principal_id: UUID
    run_id: UUID | None
    """The agent's, or a task's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be held, until it is known what was used."""

    payer: Payer
    amounts: Mapping[Measure, int | None]
    """None: nobody can say how much it will be, so that no budget has enough left for it."""
    call_id: UUID | None = None
    """Of a call, which the record has as made or not."""
    held_for: timedelta
    """Then whoever holds it is taken for gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is held, as it is settled by."""

    reservation_id: UUID
    payer: Payer
    amounts: Mapping[Measure, int | None]
    parts: str = field(repr=False)
    """JSON of the database's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """The budget that has too little left."""

    scope: BudgetScope
    measure: Measure
    most: int
    left: int
    wanted: int | None
    """None: nobody can say how much it would cost."""
    renews_at: datetime | None
    """None: of a run, which has no more."""


def renewal(scope: BudgetScope, now: datetime) -> datetime | None:
    """When a budget begins anew: at midnight in UTC; one of a run does not."""
    if scope == "run":
        return None
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)
