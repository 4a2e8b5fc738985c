"""What models may use is held of budgets before they are asked, and what they used is put in its place."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from agent.budget import Allowance, Used
from agent.model import OFFLINE, BudgetExhausted
from domain.analytics.model import Price
from domain.budgets.model import Exhausted, Held, Measure, Payer, Wanted
from domain.budgets.ports import Reservations
from domain.budgets.service import exhausted_words
from knowledge.tokens import count_tokens, load_encoding
from tools.ports import Unavailable
from tools.spending import PriceOf

log = structlog.get_logger()

ANSWER_TOKENS = 8_192
"""That an answer may have, where nobody asks for fewer: as many as a window leaves free for it."""
LEAST_ANSWER = 512
"""Tokens with which an answer is still one."""
PART_TOKENS = 8
"""What a message or an offer takes besides its words."""
MARGIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPurse:
    """Satisfies agent.budget.Purse for one run."""

    reservations: Reservations
    price_of: PriceOf
    payer: Payer

    async def hold(self, model: str, words: Sequence[str], written: int | None, seconds: float) -> Allowance | None:
        """A shorter answer than was asked for, where a budget has room for that alone."""
        if model == OFFLINE:
            return None
        await load_encoding(model)
        read = await asyncio.to_thread(_count, words, model)
        lasts, asked = timedelta(seconds=max(seconds, 0.0)) + MARGIN, written or ANSWER_TOKENS
        answer = await self._reserve(model, read, asked, lasts)
        if isinstance(answer, Exhausted):
            asked = _affordable(answer, read, asked, self.price_of(model))
            if asked >= LEAST_ANSWER:
                answer = await self._reserve(model, read, asked, lasts)
        if isinstance(answer, Exhausted):
            raise BudgetExhausted(exhausted_words(answer))
        return None if answer is None else Allowance(held=answer, written=asked)

    async def taken_over(self) -> None:
        await self.reservations.taken_over(self.payer)

    async def settle(self, allowance: Allowance, used: Used) -> None:
        """Where the database is away, what is held is taken back when its time is over."""
        try:
            await self.reservations.settle(allowance.held, self._really(allowance.held, used))
        except Unavailable:
            log.warning("budget.unsettled", reservationId=str(allowance.held.reservation_id))

    async def _reserve(self, model: str, read: int, written: int, lasts: timedelta) -> Held | Exhausted | None:
        price = self.price_of(model)
        amounts: Mapping[Measure, int | None] = {
            "tokens": read + written,
            "money": None if price is None else price.micros(read, written),
        }
        return await self.reservations.reserve(Wanted(payer=self.payer, amounts=amounts, held_for=lasts))

    def _really(self, held: Held, used: Used) -> Mapping[Measure, int]:
        """What nobody told is taken to be what was held for it."""
        if not used.begun:
            return {}
        tokens, price = used.read + used.written, self.price_of(used.model)
        if used.untold:
            tokens = max(tokens, held.amounts["tokens"] or 0)
        money = held.amounts["money"] or 0
        if price is not None:
            told = price.micros(used.read, used.written, used.cached)
            money = max(told, money) if used.untold else told
        return {"tokens": tokens, "money": money}


def _count(words: Sequence[str], model: str) -> int:
    return sum(count_tokens(each, model) + PART_TOKENS for each in words)


def _affordable(exhausted: Exhausted, read: int, asked: int, price: Price | None) -> int:
    """Tokens of an answer that what is left pays for."""
    if exhausted.measure == "tokens":
        return min(exhausted.left - read, asked)
    if price is None:
        return 0
    return min(int((exhausted.left - price.micros(read)) / price.output) if price.output else asked, asked)
