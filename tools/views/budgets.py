"""How budgets are shown."""

from datetime import datetime

from domain.budgets.model import MICROS, BudgetSetting, BudgetState, Measure, renewal
from tools.outcomes import Json
from tools.views.values import given, time_text

UNITS = {"money": "US dollars", "tokens": "tokens", "calls": "calls"}


def budget_setting_json(setting: BudgetSetting) -> Json:
    """One entry of the history of budgets."""
    kind, effect = _parted(setting.measure)
    return {
        "setting_id": str(setting.setting_id),
        "scope": setting.scope,
        **given(member=setting.member),
        "measure": kind,
        **given(effect=effect),
        "limit": None if setting.most is None else _amount(kind, setting.most),
        "reason": setting.reason,
        "changed_by": setting.changed_by,
        "changed_at": setting.changed_at.isoformat(),
    }


def budget_json(state: BudgetState, now: datetime) -> Json:
    """A budget in force and what is left of it."""
    kind, effect = _parted(state.measure)
    return {
        "scope": state.scope,
        **given(member=state.member),
        "measure": kind,
        **given(effect=effect),
        "unit": UNITS[kind],
        "limit": _amount(kind, state.most),
        "used": _amount(kind, state.used),
        "reserved": _amount(kind, state.reserved),
        "left": _amount(kind, max(state.most - state.used - state.reserved, 0)),
        "per": "run" if state.scope == "run" else "day",
        **given(renews_at=time_text(renewal(state.scope, now))),
    }


def _parted(measure: Measure) -> tuple[str, str | None]:
    kind, _, effect = measure.partition(":")
    return kind, effect or None


def _amount(kind: str, amount: int) -> float | int:
    return amount / MICROS if kind == "money" else amount
