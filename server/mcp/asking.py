"""Calls that wait for a person, at a client that can show one a page: it is asked to, and told what becomes of them.

That a client shows the page, or says that it has, decides nothing: what a call has come to is read from the record.
"""

import asyncio
from typing import Any, Literal, Protocol
from uuid import UUID

import orjson
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from domain.activity.service import CallNotFound
from domain.approvals.service import ApprovalNotFound
from domain.kernel import CallId, Principal
from server.hub import Hub
from tools.outcomes import ApprovalAsked, CallOutcome

MOST_LEGS = 6
"""How often a request of revision 2026-07-28 is held so: clients give up after ten rounds."""
SHOWING_REVISION = "2025-11-25"
"""The one revision with a handshake that knows pages."""
KEY = "approval"
"""Of the one thing that a client is asked for."""

Action = Literal["accept", "decline", "cancel"]
Context = ServerRequestContext[Any, Any]


class Showing(Protocol):
    """How a client of revision 2025-11-25 is asked, over HTTP or standard input."""

    def shows(self, context: Context, /) -> bool:
        """Whether it can be asked to show a page, by what it has said of itself."""
        ...

    async def show(self, context: Context, page: types.ElicitRequestURLParams, /) -> Action:
        """Ask it, and give what it says: that whoever sits there goes to the page, or does not."""
        ...


class Asking:
    """Asks by the means of the client's revision; one that has none, or has not declared it, is told `waiting`."""

    def __init__(self, hub: Hub, showing: Showing) -> None:
        self._hub = hub
        self._showing = showing

    async def asked(
        self, context: Context, principal: Principal, waiting: CallOutcome
    ) -> CallOutcome | types.InputRequiredResult:
        """What to answer a request whose call waits: how that has ended meanwhile, or what the client shall do."""
        if waiting.approval is None:
            return waiting
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return self._first_leg(waiting, waiting.approval) if declares_pages(context) else waiting
        if context.protocol_version == SHOWING_REVISION and self._showing.shows(context):
            return await self._shown(context, principal, waiting, waiting.approval)
        return waiting

    async def resumed(
        self, context: Context, principal: Principal, params: types.CallToolRequestParams
    ) -> CallOutcome | types.InputRequiredResult:
        """What to answer a client that comes back with the state it was given: of the same call, never of a new one.

        Raises  MCPError: the call is none that this principal may see any more.
        """
        state = orjson.loads(params.request_state or "")
        call_id, leg = CallId(UUID(state["call_id"])), int(state["leg"])
        waits = _goes_on(params.input_responses)
        follow = self._hub.settlements.settled if waits else self._hub.settlements.look
        try:
            stands = await follow(principal, call_id)
        except (CallNotFound, ApprovalNotFound) as gone:
            raise MCPError(types.INVALID_PARAMS, str(gone), {"call_id": str(call_id)}) from None
        if stands.outcome == "waiting" and waits and leg < MOST_LEGS:
            return types.InputRequiredResult(request_state=_state(call_id, leg + 1))
        return stands

    def _first_leg(self, waiting: CallOutcome, asked: ApprovalAsked) -> types.InputRequiredResult:
        page = types.ElicitRequestURLParams(message=self._words(waiting, asked), url=self._url(asked))
        return types.InputRequiredResult(
            input_requests={KEY: types.ElicitRequest(params=page)}, request_state=_state(waiting.call_id, 1)
        )

    async def _shown(
        self, context: Context, principal: Principal, waiting: CallOutcome, asked: ApprovalAsked
    ) -> CallOutcome:
        """Held within the one request, until the call is settled or nobody goes to the page."""
        name = str(asked.approval_id)
        page = types.ElicitRequestURLParams(
            message=self._words(waiting, asked), url=self._url(asked), elicitation_id=name
        )
        following = asyncio.ensure_future(self._hub.settlements.settled(principal, waiting.call_id))
        showing = asyncio.ensure_future(self._showing.show(context, page))
        try:
            await asyncio.wait((following, showing), return_when=asyncio.FIRST_COMPLETED)
            if not following.done() and showing.result() != "accept":
                return await self._hub.settlements.look(principal, waiting.call_id)
            stands = await following
        finally:
            await _ended(following, showing)
        if stands.outcome != "waiting":
            await context.session.send_elicit_complete(name, related_request_id=context.request_id)
        return stands

    def _words(self, waiting: CallOutcome, asked: ApprovalAsked) -> str:
        tool = self._hub.rules.registry.find(waiting.tool)
        what = waiting.tool if tool is None else f"{tool.manifest.title} ({waiting.tool})"
        whom = ", though not whoever asked for it" if asked.four_eyes else ""
        return (
            f"{what} waits for a person's approval, of role {asked.needs_role} or above{whom}. "
            "The page shows the call, and decides it for whoever is signed in there."
        )

    def _url(self, asked: ApprovalAsked) -> str:
        return self._hub.approval_url(asked.approval_id)


def declares_pages(context: Context) -> bool:
    """Whether the client has declared that it shows pages."""
    declared = context.session.client_capabilities
    return declared is not None and declared.elicitation is not None and declared.elicitation.url is not None


def _goes_on(answers: types.InputResponses | None) -> bool:
    """Whether to wait for a decision; what is answered counts for nothing else, and nothing may be answered at all."""
    answer = (answers or {}).get(KEY)
    return not isinstance(answer, types.ElicitResult) or answer.action == "accept"


def _state(call_id: CallId, leg: int) -> str:
    return orjson.dumps({"call_id": str(call_id), "leg": leg}).decode()


async def _ended(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
