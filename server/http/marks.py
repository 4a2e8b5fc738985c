"""What marks a request through the server: its id, and the trace it belongs to; taken where valid, and given back."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "x-request-id"
MARKS = "glow.marks"

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The ids by which a request is found again, in logs and in the record."""

    request_id: str
    traceparent: str | None
    tracestate: str | None

    @property
    def trace_id(self) -> str | None:
        """The 32 hexadecimal digits that name the trace; None: the request came with none."""
        return None if self.traceparent is None else self.traceparent.split("-")[1]


def marks_of(connection: HTTPConnection) -> Marks:
    """The marks of a request that came through MarkedRequests."""
    return connection.scope[MARKS]


class MarkedRequests:
    """Middleware: gives each request its marks, binds them to the log, and gives them back with the answer."""

    def __init__(self, app: ASGIApp, new_id: Callable[[], UUID]) -> None:
        self._app = app
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        marks = scope[MARKS] = read_marks(Headers(scope=scope), self._new_id)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(requestId=marks.request_id)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = marks.request_id
                if marks.traceparent is not None:
                    headers["traceparent"] = marks.traceparent
                if marks.tracestate is not None:
                    headers["tracestate"] = marks.tracestate
            await send(message)

        await self._app(scope, receive, marked)


def read_marks(headers: Headers, new_id: Callable[[], UUID]) -> Marks:
    """The marks that a request brought, as far as they are valid; an id is made where there is none.

    Source  W3C Trace Context, 3.2 and 3.3: without a valid traceparent its tracestate is not looked at.
    """
    request_id = _REQUEST_ID.fullmatch(headers.get(REQUEST_ID, ""))
    trace = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    state = _TRACESTATE.fullmatch(",".join(headers.getlist("tracestate"))) if trace else None
    return Marks(
        request_id=new_id().hex if request_id is None else request_id[0],
        traceparent=None if trace is None else trace[0],
        tracestate=None if state is None else state[0],
    )
