"""Attempts that came to nothing, each recorded in a transaction of its own: the work's was never opened or is gone."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from domain.activity.model import ActivityEvent
from domain.kernel import Principal
from tools.calls import Call, Progress, Undone, duplicate_call
from tools.endings import Endings
from tools.outcomes import CallError, CallOutcome, CallRequest, Deny
from tools.ports import DuplicateCall, Recorder, Transactions, Unavailable
from tools.record import Recorded, kept_of
from tools.registry import Registry

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Records the attempt before it tells the caller how it ended."""

    registry: Registry
    transactions: Transactions
    recorder: Recorder
    endings: Endings
    fault: Callable[[str], Awaitable[None]]

    async def unread(self, request: CallRequest, principal: Principal, error: CallError, started: float) -> CallOutcome:
        """An unknown tool or arguments that do not parse: no verdict is reached."""
        async with self.transactions.begin(principal, "", {}, None, read_only=True) as transaction:
            role = transaction.facts.role
        recorded = self._recorded(request, principal)
        duration_ms = self.endings.elapsed(started)
        await self._record([self.endings.unread(recorded, error, role=role, duration_ms=duration_ms)])
        return CallOutcome(
            call_id=request.call_id, tool=request.tool, outcome="invalid", error=error, duration_ms=duration_ms
        )

    async def refused(self, request: CallRequest, principal: Principal, reason: str, message: str) -> CallOutcome:
        """A door or an agent refused it before policy was asked."""
        async with self.transactions.begin(principal, "", {}, None, read_only=True) as transaction:
            role = transaction.facts.role
        error = CallError(code=reason, message=message)
        recorded = self._recorded(request, principal)
        await self._record([self.endings.refused(recorded, error, reasons=(reason,), opens=True, role=role)])
        verdict = Deny(reasons=(reason,))
        return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="denied", verdict=verdict, error=error)

    async def undone(self, call: Call, undone: Undone) -> CallOutcome:
        """Record a call whose transaction is gone: the ticket again, where it had one, and how it ended."""
        return await self._undone(undone, self.endings.events(call, undone))

    async def cancelled(self, call: Call, progress: Progress) -> CallOutcome:
        """Record the cancellation, whoever cancels again; the cancellation itself goes on.

        Of a call that was left to another process the attempt is recorded as a call of its own: the call itself has not
        ended, and its id is for whoever makes it.
        """
        undone = self.endings.cancelled(call, progress)
        events = self.endings.events(call, undone)
        if call.request.left():
            events = self.endings.apart(events)
        try:
            await asyncio.shield(self._undone(undone, events))
        except (Unavailable, DuplicateCall, asyncio.CancelledError):
            log.warning("call.cancelled_unrecorded", callId=str(call.request.call_id))
        return undone.ended

    async def duplicate(self, call: Call, progress: Progress) -> CallOutcome:
        """Record an attempt to make a call again, beside the record of that call."""
        await self.recorder.record([self.endings.duplicate(call.recorded, progress.judged)])
        return self.endings.ended(call, "invalid", progress.judged, error=duplicate_call(call.request))

    async def _undone(self, undone: Undone, events: list[ActivityEvent]) -> CallOutcome:
        await self._record(events)
        await self.fault("undone")
        return undone.ended

    async def _record(self, events: list[ActivityEvent]) -> None:
        """Record how a call ended; where its id was used before, as a call of its own beside that one."""
        try:
            await self.recorder.record(events)
        except DuplicateCall:
            await self.recorder.record(self.endings.apart(events))

    def _recorded(self, request: CallRequest, principal: Principal) -> Recorded:
        """A call whose arguments no schema has passed, as far as the record can keep it."""
        tool = self.registry.find(request.tool)
        manifest = None if tool is None else tool.manifest
        return Recorded(request=request, principal=principal, manifest=manifest, arguments=kept_of(request.arguments))
