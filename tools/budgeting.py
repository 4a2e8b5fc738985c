"""What a call that would be made holds of budgets: before the verdict that binds, and until it is known how it ended.

Each time in a statement of its own, with no transaction open, and only where a budget is set that the call counts in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

import structlog

from domain.budgets.model import MODEL_MEASURES, Exhausted, Held, Measure, Payer, Wanted, calls_of
from domain.budgets.ports import Reservations
from knowledge.embeddings.model import TokensUsed
from knowledge.tokens import count_tokens, load_encoding
from tools.calls import Call, RoomUnknown, Unreserved
from tools.facts import Facts
from tools.outcomes import Allow, Deny, NeedsApproval
from tools.ports import Unavailable
from tools.record import Judged
from tools.spending import BudgetGone, Hold, Holds, PriceOf

log = structlog.get_logger()

EXHAUSTED = "budget_exhausted"
"""The policy that refuses a call for want of a budget."""
MARGIN = timedelta(minutes=1)
"""What a call may take beside its tool's time: then whoever made it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgeting:
    """Reserves for calls, and for the models that calls ask by themselves."""

    reservations: Reservations
    price_of: PriceOf

    def require(self, call: Call, judged: Judged) -> None:
        """Go on if no budget counts the call, or it is known whether there is room, or room would not help it.

        Only what would be made holds anything: what is refused for another reason, or waits, takes nobody's place.
        Raises  Unreserved: leave the transaction, and `hold` first. RoomUnknown: and `look` first.
        """
        call_id, holds, verdict = call.request.call_id, call.holds, judged.verdict
        if call_id in holds.decided or call.request.dry_run or not call.left_of_budgets(judged.facts):
            return
        looked = call_id in holds.looked
        match verdict:
            case Deny(reasons=reasons):
                if not looked and reasons == (EXHAUSTED,):
                    raise RoomUnknown(call)
            case _ if judged.facts.missing:
                return
            case Allow():
                raise Unreserved(call)
            case NeedsApproval():
                if not looked:
                    raise RoomUnknown(call)
            case _:
                assert_never(verdict)

    async def hold(self, call: Call, holds: Holds) -> None:
        """Hold one call of its effect, or find that nothing is left of a budget."""
        call_id = call.request.call_id
        answer = await self.reservations.reserve(_one(call))
        holds.decided[call_id] = answer if isinstance(answer, Exhausted) else None
        if isinstance(answer, Held):
            holds.held.append(Hold(held=answer, call_id=call_id))

    async def look(self, call: Call, holds: Holds) -> None:
        """Find out whether there is room for one call of its effect, without holding it."""
        holds.looked[call.request.call_id] = await self.reservations.lacking(_one(call))

    async def asking(self, call: Call, facts: Facts, model: str, texts: Sequence[str]) -> TokensUsed:
        """Where whoever asks a model for these texts adds what is used; what it may take is held, if there is a budget.

        Raises  BudgetGone: there is, and it has too little left.
        """
        used = call.spending.on(model)
        if not any(each.measure in MODEL_MEASURES for each in facts.budgets_in(call.charged_run)):
            return used
        await load_encoding(model)
        tokens, price = sum(count_tokens(text, model) for text in texts), self.price_of(model)
        amounts: Mapping[Measure, int | None] = {
            "tokens": tokens,
            "money": None if price is None else price.micros(tokens),
        }
        answer = await self.reservations.reserve(Wanted(payer=_payer(call), amounts=amounts, held_for=_most(call)))
        if isinstance(answer, Exhausted):
            raise BudgetGone(call.request.call_id, answer)
        if answer is not None:
            call.holds.held.append(Hold(held=answer, model=model, used=used))
        return used

    async def settle(self, holds: Holds) -> None:
        """Put what was used in the place of what is held; where the database is away, its time runs out."""
        for hold in holds.held:
            try:
                await self.reservations.settle(hold.held, self._really(hold, holds))
            except Unavailable:
                log.warning("budget.unsettled", reservationId=str(hold.held.reservation_id))
        holds.held.clear()

    def _really(self, hold: Hold, holds: Holds) -> Mapping[Measure, int | None]:
        amounts: dict[Measure, int] = {measure: amount or 0 for measure, amount in hold.held.amounts.items()}
        if hold.used is None:
            if not holds.known:
                return dict.fromkeys(amounts)
            return amounts if hold.call_id in holds.made else {}
        # What nobody told is taken to be what was held for it.
        told = hold.used.told if not hold.used.untold else max(hold.used.told, amounts["tokens"])
        price = self.price_of(hold.model)
        return {"tokens": told, "money": amounts["money"] if price is None else price.micros(told)}


def _one(call: Call) -> Wanted:
    amounts: Mapping[Measure, int | None] = {calls_of(call.manifest.effect): 1}
    return Wanted(payer=_payer(call), amounts=amounts, call_id=call.request.call_id, held_for=_most(call))


def _payer(call: Call) -> Payer:
    principal = call.principal
    return Payer(
        organization_id=principal.organization_id, principal_id=principal.principal_id, run_id=call.charged_run
    )


def _most(call: Call) -> timedelta:
    """As long as it can be under way: its preparation and its work."""
    return 2 * timedelta(seconds=call.timeout_s) + MARGIN
