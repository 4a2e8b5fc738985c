"""One call of the background's own, made once whoever makes it: its id follows from what it is for."""

from collections.abc import Callable
from dataclasses import dataclass

from domain.activity.model import ActivityItem
from domain.activity.service import CallNotFound
from domain.kernel import CallId, Principal
from server.database.unit_of_work import PostgresTransactions
from server.worker.again import MOST_CUT_OFF
from tools.gate import Gate
from tools.outcomes import CallRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceOnly:
    """Makes a call through the gate, unless the ledger says that it was made."""

    gate: Gate
    transactions: PostgresTransactions

    async def call(self, principal: Principal, request_of: Callable[[int], CallRequest]) -> CallId:
        """The call that stands in the ledger, made now, earlier, or by another worker meanwhile.

        `request_of`: the request of an attempt, the first being 0; the same in every process.
        """
        for attempt in range(MOST_CUT_OFF):
            request = request_of(attempt)
            if await self._recorded(principal, request.call_id) is None:
                await self.gate.call(request, principal)
            made = await self._recorded(principal, request.call_id)
            if made is None or not _cut_off(made):
                return request.call_id
        return request_of(MOST_CUT_OFF - 1).call_id

    async def _recorded(self, principal: Principal, call_id: CallId) -> ActivityItem | None:
        async with self.transactions.session(principal.organization_id, principal.principal_id) as session:
            try:
                return (await session.work.activity.call(call_id)).item
            except CallNotFound:
                return None


def _cut_off(item: ActivityItem) -> bool:
    """A worker stopped in the midst of it, and nothing of it stands; that a person cancelled is another matter."""
    return item.outcome == "cancelled" and item.approval_id is None
