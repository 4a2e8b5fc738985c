"""What one call has spent at models, what that cost at the prices of the moment, and what it holds of budgets."""

from collections.abc import Callable
from dataclasses import dataclass, field

from domain.analytics.model import Price
from domain.budgets.model import Exhausted, Held
from domain.kernel import CallId, Outcome
from knowledge.embeddings.model import TokensUsed

PriceOf = Callable[[str], Price | None]
"""What a model's tokens cost now; None: nobody said."""


def no_price(model: str) -> None:
    """Nothing has a price."""
    del model


@dataclass(slots=True)
class Spending:
    """The models that a call has asked, each time with what it told of what that took."""

    _asked: list[tuple[str, TokensUsed]] = field(default_factory=list[tuple[str, TokensUsed]])

    def on(self, model: str) -> TokensUsed:
        """Where whoever asks this model adds what is used, however the asking ends."""
        used = TokensUsed()
        self._asked.append((model, used))
        return used

    def cost_micros(self, price_of: PriceOf) -> int | None:
        """Millionths of a US dollar, nothing where no model was asked.

        None: a model has no price, or did not tell how much it read.
        """
        total = 0
        for model, used in self._asked:
            if not (used.told or used.untold):
                continue
            price = price_of(model)
            if price is None or used.untold:
                return None
            total += price.micros(used.told)
        return total


class BudgetGone(Exception):
    """A model was to be asked, and a budget has too little left for it."""

    def __init__(self, call_id: CallId, exhausted: Exhausted) -> None:
        super().__init__(exhausted.measure)
        self.call_id = call_id
        self.exhausted = exhausted


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One reservation: of a call, or of what a model may take that a call asks."""

    held: Held
    call_id: CallId | None = None
    model: str = ""
    used: TokensUsed | None = None
    """None: of a call."""


@dataclass(slots=True)
class Holds:
    """What a call holds of budgets, and a call that it answers for: one that a person approved by it."""

    decided: dict[CallId, Exhausted | None] = field(default_factory=dict[CallId, Exhausted | None])
    """The calls for which something was held, or nothing was left."""
    looked: dict[CallId, Exhausted | None] = field(default_factory=dict[CallId, Exhausted | None])
    """The calls that hold nothing, and for which somebody looked whether there is room."""
    held: list[Hold] = field(default_factory=list[Hold])
    made: set[CallId] = field(default_factory=set[CallId])
    """Calls that happened, however they ended: they count."""
    known: bool = False
    """It is known how the call ended: the database did not go away in the midst of it."""

    def exhausted(self, call_id: CallId) -> Exhausted | None:
        """The budget that had no room for a call, if one is known."""
        return self.decided.get(call_id) or self.looked.get(call_id)

    def note(self, call_id: CallId, outcome: Outcome) -> None:
        """How a call ended. One that was denied, invalid, only previewed or that waits has not happened."""
        if outcome in ("done", "failed", "cancelled"):
            self.made.add(call_id)
