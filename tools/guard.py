"""A handler's code as the gate runs it: within its time, and with every way of failing told apart."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.kernel import DomainError
from tools.calls import Call, RoomUnknown, Unreserved
from tools.endings import Endings
from tools.outcomes import CallError
from tools.ports import DuplicateCall, Unavailable
from tools.record import Judged
from tools.spending import BudgetGone


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Stands between the gate and the code of handlers."""

    endings: Endings
    is_away: Callable[[Exception], bool]

    async def run(self, call: Call, judged: Judged, work: Callable[[], Awaitable[object]], *, ticket: bool) -> object:
        """Run a handler's code within its time; whatever it raises becomes how the call ended."""
        seconds = call.timeout_s
        try:
            async with asyncio.timeout(seconds):
                return await work()
        except (Unavailable, DuplicateCall, Unreserved, RoomUnknown, BudgetGone, asyncio.CancelledError):
            raise
        except DomainError as refusal:
            error = CallError(code=refusal.code, message=str(refusal))
            raise self.endings.invalid(call, judged, error) from refusal
        except TimeoutError as late:
            error = CallError(code="timeout", message=f"The tool took longer than {seconds:g} s.")
            raise self.endings.failed(call, judged, error, ticket=ticket) from late
        except Exception as fault:
            if self.is_away(fault):
                raise
            raise self.endings.faulted(call, judged, fault, ticket=ticket) from fault
