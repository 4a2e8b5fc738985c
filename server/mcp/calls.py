"""Calls of tools for MCP clients, the same over every transport: into the gate, and what the client is told of it."""

from collections.abc import Awaitable
from typing import TypeVar

import structlog

from domain.kernel import CallId, Principal
from server.http.marks import Marks
from server.hub import Hub
from tools.outcomes import CallOutcome, CallRequest, Json, Tell, envelope, reference_of, tell_nobody
from tools.ports import Unavailable

log = structlog.get_logger()

Result = TypeVar("Result")


class NotAnswered(Exception):
    """There is no outcome to tell; the words may be shown, and say nothing of the inside."""

    def __init__(self, words: str, *, away: bool) -> None:
        super().__init__(words)
        self.away = away
        """True: the database is away, and the same may succeed later."""


class Calls:
    """Makes the calls of clients that act for a principal."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def knows(self, tool: str) -> bool:
        """Whether there is a tool of this name."""
        return self._hub.rules.registry.find(tool) is not None

    async def make(
        self, tool: str, arguments: object, principal: Principal, marks: Marks | None, tell: Tell = tell_nobody
    ) -> CallOutcome:
        """One call through the gate; an unknown name is recorded there too."""
        request = CallRequest(
            call_id=CallId(self._hub.new_id()),
            tool=tool,
            arguments=arguments,
            request_id=None if marks is None else marks.request_id,
            trace_id=None if marks is None else marks.trace_id,
            tell=tell,
        )
        return await self._hub.gate.call(request, principal)

    def body(self, ended: CallOutcome) -> Json:
        """What the client is told of a call."""
        asked = ended.approval
        return envelope(ended, approval_url=None if asked is None else self._hub.approval_url(asked.approval_id))

    async def answered(self, work: Awaitable[Result]) -> Result:
        """What the work gives.

        Raises  NotAnswered: instead of whatever it raises.
        """
        try:
            return await work
        except Unavailable:
            words = "The service is not available for a moment; please try again."
            raise NotAnswered(words, away=True) from None
        except Exception:
            # The SDK would send str(exception) to clients of the older revisions.
            reference = reference_of(self._hub.new_id())
            log.exception("mcp.fault", reference=reference)
            raise NotAnswered(f"Something went wrong here; its reference is {reference}.", away=False) from None


def is_error(ended: CallOutcome) -> bool:
    """Whether the protocol's `isError` is set: the model should see that its call did not do what it asked for."""
    return ended.outcome not in ("done", "waiting")
