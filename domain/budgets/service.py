"""Sets budgets, and says what is used of them, with the words for one that is used up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from domain.budgets.model import (
    MICROS,
    BudgetSetting,
    BudgetSettingId,
    BudgetSettingQuery,
    BudgetState,
    Exhausted,
    Measure,
    NewBudgetSetting,
    SetBudget,
)
from domain.budgets.ports import BudgetRepository
from domain.kernel import DomainError, NotFound, PrincipalId, RunId
from domain.paging import Page, Position, page_of


class BudgetDoesNotFit(DomainError):
    """What was given does not make a budget."""

    code: ClassVar[str] = "budget_does_not_fit"


class BudgetMemberNotFound(NotFound):
    """Nobody of that address belongs to the organization."""

    code: ClassVar[str] = "member_not_found"

    def __init__(self, email: str) -> None:
        super().__init__(f"member: nobody here has the address {email}")


@dataclass(frozen=True, slots=True)
class BudgetService:
    """Who may set budgets is policy's to say, before this is called."""

    budgets: BudgetRepository

    async def set(
        self, asked: SetBudget, *, setting_id: BudgetSettingId, changed_by: PrincipalId, now: datetime
    ) -> BudgetSetting:
        """Put a budget in force for the next call on, everywhere. What is used of it today stays used.

        Effect  writes budget_settings.
        Raises  BudgetDoesNotFit, BudgetMemberNotFound.
        """
        if (asked.member is not None) != (asked.scope == "member"):
            raise BudgetDoesNotFit("member: belongs to the scope member, and only to that")
        member_id = None
        if asked.member is not None:
            member_id = await self.budgets.member(asked.member)
            if member_id is None:
                raise BudgetMemberNotFound(asked.member)
        await self.budgets.add(
            NewBudgetSetting(
                setting_id=setting_id,
                scope=asked.scope,
                member_id=member_id,
                measure=asked.measure,
                most=asked.most,
                reason=asked.reason,
                changed_by=changed_by,
                changed_at=now,
            )
        )
        return await self.budgets.setting(setting_id)

    async def history(self, query: BudgetSettingQuery) -> Page[BudgetSetting]:
        """What was set, newest first, with who, when and why."""
        return page_of(await self.budgets.history(query), query.page, _place)

    async def states(self, run_id: RunId | None = None) -> Sequence[BudgetState]:
        """The budgets in force that the principal may see, and what is used of them."""
        return await self.budgets.states(run_id)

    async def taken_in(self, run_id: RunId) -> Mapping[Measure, int] | None:
        """What is used or held in a run of the principal's own, where anything is; None: it has no such run."""
        return await self.budgets.taken_in(run_id)


def exhausted_words(exhausted: Exhausted) -> str:
    """Which budget it is, how much is left, and when it begins anew."""
    measure, scope = exhausted.measure, exhausted.scope
    whose = {"organization": "The organization's", "member": "Your own", "run": "This run's"}[scope]
    a_day = "" if scope == "run" else " a day"
    budget = f"{whose} budget of {amount_words(measure, exhausted.most)}{a_day}"
    renews = (
        "it does not renew within the run"
        if exhausted.renews_at is None
        else f"it renews at {exhausted.renews_at:%Y-%m-%dT%H:%M:%SZ}"
    )
    if exhausted.wanted is None:
        return f"{budget} cannot be kept: the model has no price, so that nobody can say what it would cost."
    if measure.startswith("calls:"):
        return f"{budget} is used up: {exhausted.left} left; {renews}."
    wanted, left = amount_words(measure, exhausted.wanted), amount_words(measure, exhausted.left)
    return f"{budget} has too little left: {left}, where this may take {wanted}; {renews}."


def amount_words(measure: Measure, amount: int) -> str:
    """An amount with its unit."""
    if measure == "money":
        return f"{amount / MICROS:,.6f}".rstrip("0").rstrip(".") + " US dollars"
    unit = "tokens" if measure == "tokens" else f"{measure.partition(':')[2]} calls"
    return f"{amount:,} {unit}"


def _place(setting: BudgetSetting) -> Position:
    return Position(time=setting.changed_at, id=setting.setting_id)
