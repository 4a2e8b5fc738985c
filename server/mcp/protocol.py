"""The protocol behind the MCP door: the SDK's server with two handlers, the list of tools and the call of one."""

import asyncio
from collections.abc import Awaitable, Coroutine
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Protocol, TypeVar

import anyio
import orjson
import structlog
from mcp import types
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params

from domain.kernel import Principal
from server.http.marks import Marks
from server.hub import Hub
from server.mcp.asking import Asking, Context, Showing
from server.mcp.calls import Calls, NotAnswered, is_error
from server.mcp.catalog import tool_of
from server.mcp.progress import telling
from tools.outcomes import CallOutcome

log = structlog.get_logger()

NAME = "prisma-glow"
BROUGHT_BACK_WITHIN = timedelta(days=1)
"""How long a client may show a page before it comes back; then it follows the call by `call_get`."""
_ODD_ARGUMENTS: ContextVar[object] = ContextVar("odd_arguments", default=None)
"""The arguments of the call under way that are no object; None where they are one."""

INSTRUCTIONS = """\
Tools of an accounting, tax and audit firm. Search its documents before you ask or conclude, and cite what you use.
Every call is decided by the firm's policy and recorded. Each result says its `outcome`: `done`; `waiting`, when a
person must agree first: give them `approval.url` and follow the call with `call_get`; `denied`, with the reasons;
`invalid`, with what to correct; or `failed`. You cannot approve a call yourself."""

Result = TypeVar("Result")


class Wire(Showing, Protocol):
    """What the transport knows of a message, over HTTP or standard input."""

    def principal(self, context: Context, /) -> Principal:
        """For whom the client acts."""
        ...

    def marks(self, context: Context, /) -> Marks | None:
        """The ids by which the request is found again, where it has some."""
        ...

    def away(self, context: Context, /) -> None:
        """The database is away; the answer will say so in the protocol's words."""
        ...

    def made(self, context: Context, /) -> CallOutcome | None:
        """How the call that the message asks for has ended, where it was made before."""
        ...


def protocol_server(hub: Hub, wire: Wire) -> Server[Any]:
    """The SDK's server for this hub; it keeps no state between requests."""
    handlers = _Handlers(hub, wire)
    server = Server[Any](
        NAME,
        version=version(NAME),
        title="Prisma Glow",
        instructions=INSTRUCTIONS,
        # What a list shows depends on who asks.
        cache_hints={"tools/list": CacheHint(), "server/discover": CacheHint()},
        get_tool_input_schema=handlers.input_schema,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
    )
    # All replicas have the key. What a client brings back must be its own, of the same tool and arguments.
    security = RequestStateSecurity(
        keys=[hub.shared_secret],
        ttl=BROUGHT_BACK_WITHIN.total_seconds(),
        bind_principal=lambda context: str(wire.principal(context).principal_id),
    )
    server.middleware.append(RequestStateBoundary(security, default_audience=hub.public_url))
    server.middleware.append(_with_any_arguments)
    return server


class _Handlers:
    """The two requests that this door serves."""

    def __init__(self, hub: Hub, wire: Wire) -> None:
        self._hub = hub
        self._calls = Calls(hub)
        self._asking = Asking(hub, wire)
        self._wire = wire

    def input_schema(self, name: str) -> dict[str, object] | None:
        """The schema by which the SDK checks Mcp-Param headers."""
        tool = self._hub.rules.registry.find(name)
        return None if tool is None else tool.manifest.arguments

    async def list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """The tools of this door that the principal's role may call, all on one page."""
        manifests = await self._answered(context, self._hub.offers.manifests(self._wire.principal(context)))
        return types.ListToolsResult(tools=[tool_of(manifest) for manifest in manifests])

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """One call through the gate, or what has become of one that the client comes back to."""
        principal = self._wire.principal(context)
        if params.request_state is not None:
            ended = await self._answered(context, self._asking.resumed(context, principal, params))
        else:
            made = await self._called(context, params)
            ended = await self._answered(context, self._asking.asked(context, principal, made))
        return ended if isinstance(ended, types.InputRequiredResult) else self._result(ended)

    async def _called(self, context: Context, params: types.CallToolRequestParams) -> CallOutcome:
        """The call; an unknown name is recorded there too, and told as the protocol wants it."""
        if (before := self._wire.made(context)) is not None:
            return before
        odd = _ODD_ARGUMENTS.get()
        arguments = (params.arguments or {}) if odd is None else odd
        ended = await self._answered(context, _undivided(self._made(context, params.name, arguments)))
        if ended.error is not None and not self._calls.knows(params.name):
            raise MCPError(types.INVALID_PARAMS, ended.error.message, {"call_id": str(ended.call_id)})
        return ended

    def _result(self, ended: CallOutcome) -> types.CallToolResult:
        body = self._calls.body(ended)
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=orjson.dumps(body).decode())],
            structured_content=body,
            is_error=is_error(ended),
        )

    async def _made(self, context: Context, tool: str, arguments: object) -> CallOutcome:
        """The call, and how far it has come to a client that asked to be told."""
        principal, marks = self._wire.principal(context), self._wire.marks(context)
        if progress_token_from_params(context.params) is None:
            return await self._calls.make(tool, arguments, principal, marks)
        async with telling(context.session.report_progress) as tell:
            return await self._calls.make(tool, arguments, principal, marks, tell)

    async def _answered(self, context: Context, work: Awaitable[Result]) -> Result:
        """What the work gives; its faults as errors of the protocol."""
        try:
            return await self._calls.answered(work)
        except NotAnswered as fault:
            if fault.away:
                self._wire.away(context)
            raise MCPError(types.INTERNAL_ERROR, str(fault)) from None


async def _with_any_arguments(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Arguments of any JSON type reach the gate, and so the record; the SDK would refuse them by itself."""
    params = ctx.params or {}
    arguments = params.get("arguments")
    if ctx.method != "tools/call" or arguments is None or isinstance(arguments, dict):
        return await call_next(ctx)
    held = _ODD_ARGUMENTS.set(arguments)
    try:
        return await call_next(replace(ctx, params={**params, "arguments": {}}))
    finally:
        _ODD_ARGUMENTS.reset(held)


async def _undivided(work: Coroutine[object, object, Result]) -> Result:
    """The work as a task of its own, cancelled once and then seen through.

    The SDK's cancel scopes cancel again at every await, which would cut short the record of a cancelled call.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.warning("mcp.cancelled", exc_info=fault)
        raise
