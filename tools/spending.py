"""What one call has spent at models, and what that cost at the prices of the moment."""

from collections.abc import Callable
from dataclasses import dataclass, field

from domain.analytics.model import Price
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
