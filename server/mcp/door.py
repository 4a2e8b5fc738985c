"""The ASGI end of the MCP door: credential, host and body are checked here, then the SDK speaks the protocol.

The SDK's own guards are not asked on purpose: its bearer layer answers `error="invalid_token"` where no token came,
and its two readers of JSON take NaN, other encodings and any depth.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from mcp.types import ElicitRequestURLParams
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from domain.kernel import Principal
from server.auth import Caller, unauthenticated
from server.http.bodies import JSON_LIMIT, checked, read_json_bytes
from server.http.marks import Marks, marks_of
from server.hub import Hub
from server.mcp.asking import SHOWING_REVISION, Action
from server.mcp.calls import Calls
from server.mcp.messages import asks_for_progress, calls_a_tool, check_message, error_of
from server.mcp.metadata import metadata_url
from server.mcp.plain import PlainCalls, plain_call
from server.mcp.protocol import Context, protocol_server
from server.mcp.showing import SESSION, AnswerStream, Shown, greeting, session_of, shows_pages
from server.problems import RETRY_AFTER_S, Problem, problem_response, unavailable
from tools.outcomes import CallOutcome
from tools.ports import Unavailable

CALLER = "glow.mcp.caller"
MADE = "glow.mcp.made"
"""The call of the request, where it was made already."""
STREAM = "glow.mcp.stream"
"""The stream of the answer, where its client can be asked for something on it."""
UNAVAILABLE = "glow.mcp.unavailable"
"""Set in the request's scope where the database is away, so that the answer is a 503."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


class OverHttp:
    """What an HTTP request knows of its message; satisfies Wire. The door has put the caller into its scope."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def principal(self, context: Context, /) -> Principal:
        """See `_principal`."""
        return _principal(cast(Caller, _request(context).scope[CALLER]))

    def marks(self, context: Context, /) -> Marks | None:
        """Those of the request."""
        return marks_of(_request(context))

    def away(self, context: Context, /) -> None:
        """Have the answer sent as a 503."""
        _request(context).scope[UNAVAILABLE] = True

    def made(self, context: Context, /) -> CallOutcome | None:
        """What the short way has made already."""
        return _request(context).scope.get(MADE)

    def shows(self, context: Context, /) -> bool:
        """Where it has declared that, and its answer is a stream."""
        return STREAM in _request(context).scope

    async def show(self, context: Context, page: ElicitRequestURLParams, /) -> Action:
        """On the stream of the answer."""
        stream = cast(AnswerStream, _request(context).scope[STREAM])
        return await self._shown.ask(stream, self.principal(context).principal_id, page)


class McpDoor:
    """Serves POST /mcp; stateless, so that any replica answers any request."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._metadata_url = metadata_url(hub.public_url)
        self._hosts = TransportSecurityMiddleware(_hosts(hub))
        self._shown = Shown()
        speaker = protocol_server(hub, OverHttp(self._shown))
        self._plain = PlainCalls(Calls(hub), speaker.server_info_stamp)
        self._answering = _manager(speaker, json_response=True)
        self._streaming = _manager(speaker, json_response=False)
        """For requests that want to be told of progress, or may be asked for something; others are answered as JSON."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Entered once, and left by the same task."""
        async with self._answering.run(), self._streaming.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it as a problem."""
        request = Request(scope, receive)
        try:
            caller, body, message = await self._admitted(request)
        except (Problem, Unavailable) as refused:
            problem = refused if isinstance(refused, Problem) else unavailable()
            await problem_response(_for_both(problem), request)(scope, receive, send)
            return
        scope = {**scope, CALLER: caller}
        plain = plain_call(scope, message)
        if plain is not None and self._plain.takes(plain):
            waiting = await self._plain.answer(plain, _principal(caller), marks_of(request), receive, send)
            if waiting is None:
                return
            scope[MADE] = waiting
        self._shown.hear(_principal(caller).principal_id, message)
        await self._speak(scope, message, body, receive, send)

    async def _admitted(self, request: Request) -> tuple[Caller, bytes, object]:
        """Who asks, and what; in the order that tells a stranger least."""
        await self._check_host(request)
        caller = await self._caller(request)
        if request.method != "POST":
            # Stateless: there is no session to end and no stream of the server's own to open.
            raise Problem(405, "method_not_allowed", "MCP requests are sent by POST.", headers={"Allow": "POST"})
        body = await read_json_bytes(request)
        message = checked(body)
        check_message(message)
        return caller, body, message

    async def _check_host(self, request: Request) -> None:
        """Against DNS rebinding; the SDK's rule, in this server's words."""
        refused = await self._hosts.validate_request(request)
        if refused is not None:
            detail = f"This server is {self._hub.public_url}; no other host or origin is known here (GLOW_PUBLIC_URL)."
            raise Problem(refused.status_code, "wrong_host", detail)

    async def _caller(self, request: Request) -> Caller:
        try:
            caller = await self._hub.authenticator.caller(request)
            if caller.audience != "mcp":
                raise unauthenticated(f"A token for `{caller.audience}` does not open /mcp.", error="invalid_token")
        except Problem as refused:
            raise self._with_metadata(refused) from refused
        return caller

    def _with_metadata(self, refused: Problem) -> Problem:
        """The same refusal, its challenge saying where the metadata stands.  Source  RFC 9728 5.1."""
        challenge = refused.headers.get("WWW-Authenticate")
        if challenge is not None:
            separator = ", " if " " in challenge else " "
            refused.headers["WWW-Authenticate"] = f'{challenge}{separator}resource_metadata="{self._metadata_url}"'
        return refused

    async def _speak(self, scope: Scope, message: object, body: bytes, receive: Receive, send: Send) -> None:
        """Hand the request to the SDK; from revision 2026-07-28 on, a client that closes it cancels the call."""
        request = Request(scope)
        revision = request.headers.get("mcp-protocol-version")
        streams = calls_a_tool(message) and all(check_accept_headers(request))
        shows = streams and revision == SHOWING_REVISION and shows_pages(request.headers.get(SESSION))
        manager = self._streaming if shows or (streams and asks_for_progress(message)) else self._answering
        send = _marked(scope, send)
        if (session := session_of(message)) is not None:
            send = greeting(session, send)
        if shows:
            scope[STREAM] = stream = AnswerStream(send)
            send = stream.send
        closing_cancels = revision is not None and revision not in HANDSHAKE_PROTOCOL_VERSIONS
        async with anyio.create_task_group() as group:
            if closing_cancels:
                group.start_soon(_cancel_when_closed, receive, group.cancel_scope)
            await manager.handle_request(scope, _replayed(body), send)
            group.cancel_scope.cancel()


def _manager(speaker: Server[Any], *, json_response: bool) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        app=speaker, json_response=json_response, stateless=True, max_request_body_size=JSON_LIMIT
    )


def _principal(caller: Caller) -> Principal:
    """Always an agent, whatever credential began it."""
    return caller.principal("mcp", mode="agent")


def _request(context: Context) -> Request:
    """The HTTP request, which the SDK hands through in both eras."""
    return cast(Request, context.request)


def _hosts(hub: Hub) -> TransportSecuritySettings:
    own = urlsplit(hub.public_url)
    local = [f"{host}{port}" for host in LOCAL_HOSTS for port in ("", ":*")]
    return TransportSecuritySettings(
        allowed_hosts=[own.netloc, *local],
        allowed_origins=[
            f"{own.scheme}://{own.netloc}",
            *(f"http://{host}" for host in local),
            *hub.settings.allowed_origins,
        ],
    )


def _for_both(problem: Problem) -> Problem:
    """The problem, readable as the JSON-RPC error without an id that an MCP client looks for."""
    problem.extra.update(error_of(problem))
    problem.headers.setdefault("Cache-Control", "no-store")
    return problem


async def _cancel_when_closed(receive: Receive, work: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    work.cancel()


def _replayed(body: bytes) -> Receive:
    """The body once more, and then nothing: whether the client is still there is watched elsewhere."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    return receive


def _marked(scope: Scope, send: Send) -> Send:
    """Never kept by a cache; and 503, with when to come back, where the handler found the database away."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Cache-Control"] = "no-store"
            if scope.get(UNAVAILABLE):
                message["status"] = 503
                headers["Retry-After"] = str(RETRY_AFTER_S)
        await send(message)

    return marked
