"""The short way of the usual request: a tools/call of revision 2026-07-28, without the SDK's layers.

What the SDK checks of such a request is checked here; whatever is not usual is the SDK's to answer, and so is every
refusal of the protocol's own. Both ways answer alike, to the member (tests/doors/test_mcp_plain.py).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import orjson
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    INTERNAL_ERROR,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    methods,
)
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from domain.kernel import Principal
from server.http.marks import Marks
from server.mcp.calls import Calls, NotAnswered, is_error
from server.problems import RETRY_AFTER_S
from tools.outcomes import CallOutcome, Json

REVISION = "2026-07-28"
METHOD = "tools/call"

_BODY = frozenset({"jsonrpc", "id", "method", "params"})
_PARAMS = frozenset({"name", "arguments", "_meta"})
_ENVELOPE = frozenset({PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY})
_ACCEPTED = frozenset({b"application/json, text/event-stream", b"text/event-stream, application/json", b"*/*"})
_CONTENT = frozenset({b"application/json", b"application/json; charset=utf-8"})
_LONGEST_META = 2048
_LARGEST_ID = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainCall:
    """A tools/call with nothing unusual about it."""

    request_id: str | int
    tool: str
    arguments: Json
    shows_pages: bool
    """Whether the client has declared that it shows pages to whoever sits there."""


def plain_call(scope: Scope, message: object) -> PlainCall | None:
    """The call that a decoded body is, by its headers too; None: the SDK has to look at it."""
    body = _members(message, _BODY)
    if body is None or body["jsonrpc"] != "2.0" or body["method"] != METHOD:
        return None
    params = _members({"arguments": {}, **_object(body["params"])}, _PARAMS)
    envelope = None if params is None else _plain_meta(params["_meta"])
    if params is None or envelope is None:
        return None
    request_id, tool, arguments = body["id"], params["name"], params["arguments"]
    if not (_is_plain_id(request_id) and isinstance(tool, str) and isinstance(arguments, dict)):
        return None
    if not _has_plain_headers(scope, tool):
        return None
    return PlainCall(
        request_id=cast("str | int", request_id),
        tool=tool,
        arguments=cast(Json, arguments),
        shows_pages=envelope.shows_pages,
    )


def _object(value: object) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}


def _members(value: object, names: frozenset[str]) -> Json | None:
    """The object, if it has these members and no others."""
    found = _object(value)
    return found if found.keys() == names else None


def _is_plain_id(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < _LARGEST_ID
    return isinstance(value, str)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the envelope of a usual request says."""

    shows_pages: bool


def _plain_meta(meta: object) -> Envelope | None:
    if not isinstance(meta, dict):
        return None
    try:
        text = orjson.dumps(meta)
    except TypeError:  # an integer beyond 64 bits
        return None
    return _envelope(text) if len(text) <= _LONGEST_META else None


@lru_cache(maxsize=256)
def _envelope(text: bytes) -> Envelope | None:
    """What the envelope says, if the SDK takes it; a client sends the same one with each request."""
    meta = cast(Json, orjson.loads(text))
    known = {PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, "io.modelcontextprotocol/clientInfo"}
    if (
        meta.get(PROTOCOL_VERSION_META_KEY) != REVISION
        or CLIENT_CAPABILITIES_META_KEY not in meta
        or meta.keys() - known
    ):
        return None
    try:
        methods.validate_client_request(METHOD, REVISION, {"name": "any", "_meta": meta})
    except ValidationError:
        return None
    declared = _object(meta[CLIENT_CAPABILITIES_META_KEY])
    return Envelope(shows_pages="url" in _object(declared.get("elicitation")))


def _has_plain_headers(scope: Scope, tool: str) -> bool:
    """Whether the headers say what the body says, each of them once."""
    sent: dict[bytes, bytes] = {}
    for name, value in cast("list[tuple[bytes, bytes]]", scope["headers"]):
        if name in sent or name.startswith(b"mcp-param-"):
            return False
        sent[name] = value
    return (
        sent.get(b"mcp-protocol-version") == REVISION.encode()
        and sent.get(b"mcp-method") == METHOD.encode()
        and sent.get(b"mcp-name") == tool.encode()
        and sent.get(b"accept") in _ACCEPTED
        and sent.get(b"content-type") in _CONTENT
    )


class PlainCalls:
    """Answers plain calls."""

    def __init__(self, calls: Calls, server_info: Json) -> None:
        """`server_info`: how the server names itself in each result."""
        self._calls = calls
        self._meta = {SERVER_INFO_META_KEY: server_info}

    def takes(self, call: PlainCall) -> bool:
        """Whether there is such a tool; that there is none is the protocol's to say."""
        return self._calls.knows(call.tool)

    async def answer(
        self, call: PlainCall, principal: Principal, marks: Marks, receive: Receive, send: Send
    ) -> CallOutcome | None:
        """Make the call and send its outcome; a client that closes the request cancels it.

        The outcome is given instead where the call waits and its client may be asked for something first.
        Source  MCP 2026-07-28, Streamable HTTP; schema.ts, CallToolResult.
        """
        async with _cancelled_when_closed(receive):
            answer: Json = {"jsonrpc": "2.0", "id": call.request_id}
            away = False
            try:
                made = self._calls.make(call.tool, call.arguments, principal, marks)
                ended = await self._calls.answered(made)
                if ended.outcome == "waiting" and call.shows_pages:
                    return ended
                answer["result"] = self._result(ended)
            except NotAnswered as fault:
                away = fault.away
                answer["error"] = {"code": INTERNAL_ERROR, "message": str(fault)}
            await _send_json(orjson.dumps(answer), send, away=away)
        return None

    def _result(self, ended: CallOutcome) -> Json:
        body = orjson.dumps(self._calls.body(ended))
        return {
            "_meta": self._meta,
            "resultType": "complete",
            "content": [{"type": "text", "text": body.decode()}],
            "structuredContent": orjson.Fragment(body),
            "isError": is_error(ended),
        }


@asynccontextmanager
async def _cancelled_when_closed(receive: Receive) -> AsyncGenerator[None]:
    """Cancels the block, once, when the client closes its request; nobody is left to be told then."""
    task = cast("asyncio.Task[None]", asyncio.current_task())
    closed = False

    async def watch() -> None:
        nonlocal closed
        while (await receive())["type"] != "http.disconnect":
            pass
        closed = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not closed:
            raise
        task.uncancel()
    finally:
        watching.cancel()


async def _send_json(body: bytes, send: Send, *, away: bool) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
    ]
    if away:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    await send({"type": "http.response.start", "status": 503 if away else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
