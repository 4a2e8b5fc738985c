"""What budgets need of the database: settings and counters in a principal's context, reservations beside it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from domain.budgets.model import (
    BudgetSetting,
    BudgetSettingId,
    BudgetSettingQuery,
    BudgetState,
    Exhausted,
    Held,
    Measure,
    NewBudgetSetting,
    Payer,
    Wanted,
)
from domain.kernel import PrincipalId, RunId


class BudgetRepository(Protocol):
    """Budgets, as far as the transaction's principal sees them."""

    async def member(self, email: str) -> PrincipalId | None: ...

    async def add(self, setting: NewBudgetSetting) -> None: ...

    async def setting(self, setting_id: BudgetSettingId) -> BudgetSetting: ...

    async def history(self, query: BudgetSettingQuery) -> Sequence[BudgetSetting]:
        """Newest first; one more than the page holds where there are more; nothing for a CLIENT."""
        ...

    async def states(self, run_id: RunId | None) -> Sequence[BudgetState]:
        """Those in force, with what is used today, or in that run; a CLIENT sees none."""
        ...

    async def taken_in(self, run_id: RunId) -> Mapping[Measure, int] | None:
        """What is used or held in a run of the principal's own, where anything is; None: it has no such run."""
        ...


class Reservations(Protocol):
    """Holds and settles in transactions of their own."""

    async def reserve(self, wanted: Wanted) -> Held | Exhausted | None:
        """Hold it of every budget that it counts in, or of none. None: there is no such budget.

        Raises  Unavailable (tools.ports): the database is away.
        """
        ...

    async def lacking(self, wanted: Wanted) -> Exhausted | None:
        """The first budget that has no room for it; nothing is held.

        Raises  Unavailable (tools.ports): the database is away.
        """
        ...

    async def settle(self, held: Held, really: Mapping[Measure, int | None]) -> None:
        """Put what was really used in the place of what is held; what is not named was not used.

        None: nobody knows whether the call was made, and the record is asked, now and later.

        Raises  Unavailable (tools.ports): the database is away; it is taken back when its time is over.
        """
        ...

    async def taken_over(self, payer: Payer) -> None:
        """Take back what another process held for the models of the payer's run.

        Raises  Unavailable (tools.ports).
        """
        ...


class BudgetReturns(Protocol):
    """Takes back what nobody is left to settle, for all organizations."""

    async def take_back(self) -> int: ...


NO_USE: Mapping[Measure, int] = {}
"""What was held was not used."""
