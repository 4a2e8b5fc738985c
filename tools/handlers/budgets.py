"""Budgets: set by a person's own hand, and asked about by everybody whom they bind."""

from decimal import Decimal
from typing import Literal, cast

from domain.budgets.model import MICROS, BudgetKind, BudgetScope, BudgetSettingId, Measure, SetBudget, calls_of
from domain.budgets.service import BudgetDoesNotFit
from domain.kernel import Effect
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.budgets import budget_json, budget_setting_json
from tools.work import CallContext, Handler


class BudgetSet(Arguments):
    scope: BudgetScope
    measure: Literal["money", "tokens", "calls"]
    limit: float | None
    reason: str
    member: str | None = None
    effect: Effect | None = None


class BudgetQuery(Arguments):
    """Nothing is asked."""


async def budget_set(arguments: BudgetSet, context: CallContext) -> Json:
    """Effect  writes budget_settings.

    Raises  BudgetDoesNotFit, BudgetMemberNotFound.
    """
    asked = SetBudget(
        scope=arguments.scope,
        member=arguments.member,
        measure=_measure(arguments.measure, arguments.effect),
        most=_most(arguments.measure, arguments.limit),
        reason=arguments.reason,
    )
    setting = await context.work.budgets.set(
        asked, setting_id=BudgetSettingId(context.new_id()), changed_by=context.principal.principal_id, now=context.now
    )
    return {"setting": budget_setting_json(setting)}


async def budget_query(arguments: BudgetQuery, context: CallContext) -> Json:
    """The budgets in force and what is left of them."""
    del arguments
    return {"items": [budget_json(state, context.now) for state in await context.work.budgets.states()]}


def _measure(kind: BudgetKind, effect: Effect | None) -> Measure:
    if (effect is not None) != (kind == "calls"):
        raise BudgetDoesNotFit("effect: belongs to the measure calls, and only to that")
    return cast(Measure, kind) if effect is None else calls_of(effect)


def _most(kind: BudgetKind, limit: float | None) -> int | None:
    """Raises  BudgetDoesNotFit: a part of a token, of a call, or of a millionth of a dollar."""
    if limit is None:
        return None
    amount = Decimal(str(limit)) * (MICROS if kind == "money" else 1)
    if amount != int(amount):
        whole = "to the millionth of a dollar" if kind == "money" else "a whole number"
        raise BudgetDoesNotFit(f"limit: {kind} are given {whole}")
    return int(amount)


BUDGET_SET = Handler(arguments=BudgetSet, work=budget_set)
BUDGET_QUERY = Handler(arguments=BudgetQuery, work=budget_query)
