"""Calls that another process had asked for or made: settled by the record, and made only where it has none of them."""

from typing import Protocol

from agent.calling import NOT_MADE, Caller
from agent.resuming import Resumed
from domain.kernel import CallId, Principal
from tools.outcomes import CallOutcome, CallRequest

DUPLICATE = "duplicate_call"
"""The gate's code for a call whose id was used before."""


class Ledger(Protocol):
    """The record of calls, as a run's successor reads it."""

    async def made(self, call_id: CallId, principal: Principal, *, ending: bool = False) -> CallOutcome | None:
        """How the call ended, as far as that is known; None: it was never made.

        `ending`: the run ends: what was not made outside is not made any more.

        Where the record says that it was allowed and not how it ended, the call may have taken place outside: its
        outcome is `failed` by `outcome_unknown`, unless the outside can tell.
        Raises  Unavailable: no database.
        """
        ...


class SettlingCaller:
    """The gate for a run that goes on; satisfies agent.calling.Caller.

    `closing`: what was not made is not made any more.
    """

    def __init__(self, gate: Caller, ledger: Ledger, resumed: Resumed, *, closing: bool) -> None:
        self._gate = gate
        self._ledger = ledger
        self._ended = resumed.ended
        self._open = frozenset(() if resumed.heard is None else (call_id for call_id, _ in resumed.heard.calls))
        self._closing = closing

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        """How the call ended when it was made, or the gate's answer to it now; under one id it is made once."""
        if (made := await self.made(request, principal, ending=self._closing)) is not None:
            return made
        if request.call_id not in self._open:
            return await self._gate.call(request, principal)
        return await self._make(request, principal)

    async def made(self, request: CallRequest, principal: Principal, *, ending: bool) -> CallOutcome | None:
        """How the call ended that another process had asked for; None: it was not made, or no other asked for it."""
        if (told := self._ended.get(request.call_id)) is not None:
            return told
        if request.call_id not in self._open:
            return None
        return await self._ledger.made(request.call_id, principal, ending=ending)

    async def _make(self, request: CallRequest, principal: Principal) -> CallOutcome:
        if self._closing:
            return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="cancelled", error=NOT_MADE)
        outcome = await self._gate.call(request, principal)
        if outcome.error is None or outcome.error.code != DUPLICATE:
            return outcome
        # The process that was taken for dead was quicker: its call is this one.
        return await self._ledger.made(request.call_id, principal) or outcome
