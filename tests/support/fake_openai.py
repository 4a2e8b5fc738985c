"""A fake OpenAI server: real HTTP on loopback, its answers scripted or thought up by a callable, its faults on demand.

In a test: `async with FakeOpenAI([Turn(text="Hello.")]) as fake:` and a client on `fake.base_url`.
By itself, for benchmarks: `python -m tests.support.fake_openai --port 8099 --tool knowledge_search`.
"""

import argparse
import asyncio
import json
from asyncio import Event
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, cast

import orjson

Json = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call of the model; `pieces` is how its arguments are cut, by default in two."""

    name: str
    arguments: str = "{}"
    id: str = ""
    pieces: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer: what the model says, and how its bytes travel."""

    text: str = ""
    tokens: tuple[str, ...] | None = None
    """How the text is cut; by default after each space."""
    calls: tuple[Call, ...] = ()
    refusal: str = ""
    finish_reason: str | None = None
    """By default `tool_calls` with calls, else `stop`; the empty string leaves it out."""
    usage: tuple[int, int] | None = (11, 7)
    done_line: bool = True
    extra: Json = field(default_factory=dict[str, object])
    """Fields that no client knows, put into each chunk."""
    body: bytes | None = None
    """The whole body as it is, instead of all of the above."""
    media_type: str = "text/event-stream; charset=utf-8"
    write_bytes: int = 0
    """Each write carries so many bytes; 0: one event each, or all at once where nothing is paced."""
    first_token_s: float = 0.0
    per_token_s: float = 0.0
    late_headers: bool = False
    """Send nothing at all, not even the status, before the first token."""
    stop_after: int | None = None
    """After so many events do what `then` says instead of going on."""
    then: Literal["cut", "stall", "error"] = "cut"
    error: Json = field(default_factory=lambda: {"message": "The server had an error", "type": "server_error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpError:
    """An answer other than 200."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp:
    """The connection is closed without an answer."""


Answer = Turn | HttpError | HangUp
Brain = Callable[[Json], Answer]
"""Thinks up the answer to a request's body."""


def http_error(status: int, message: str, *, code: str | None, headers: tuple[tuple[str, str], ...] = ()) -> HttpError:
    """An error in the words of the OpenAI API."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return HttpError(status=status, body=orjson.dumps(body), headers=headers)


LEAKED_KEY = "sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA"
"""A key that the `bad_key` error repeats, as some servers do."""

HTTP_ERRORS: dict[str, HttpError] = {
    "rate_limited": http_error(429, "Rate limit reached.", code="rate_limit_exceeded"),
    "rate_limited_for_2_s": http_error(
        429, "Rate limit reached.", code="rate_limit_exceeded", headers=(("Retry-After", "2"),)
    ),
    "quota_used_up": http_error(429, "You exceeded your current quota.", code="insufficient_quota"),
    "bad_gateway": HttpError(status=502, body=b"<html><h1>502 Bad Gateway</h1></html>", media_type="text/html"),
    "overloaded": http_error(503, "The server is overloaded.", code="overloaded"),
    "gateway_timeout": HttpError(status=504),
    "internal": http_error(500, "The server had an error.", code="server_error"),
    "bad_key": http_error(401, f"Incorrect API key provided: {LEAKED_KEY}.", code="invalid_api_key"),
    "forbidden": http_error(403, "Country not supported.", code="unsupported_country"),
    "unknown_model": http_error(404, "The model does not exist.", code="model_not_found"),
    "bad_request": http_error(400, "Invalid parameter.", code="invalid_value"),
    "context_too_long": http_error(
        400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"
    ),
    "context_too_long_without_code": HttpError(
        status=400,
        body=b'{"object":"error","message":"This model\'s maximum context length is 4096 tokens","code":400}',
    ),
    "body_too_large": HttpError(status=413, body=b"too large", media_type="text/plain"),
    "moved": HttpError(status=308, headers=(("Location", "http://127.0.0.1:9/elsewhere"),)),
}


@dataclass(slots=True)
class Received:
    """A request as it came in; `gone` is set when its client hung up before the answer was whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json
    gone: Event = field(default_factory=Event)
    answered: Event = field(default_factory=Event)


class FakeOpenAI:
    """Answers each request with the next of `script`, or with what `brain` thinks up; remembers what it was asked."""

    def __init__(self, script: Sequence[Answer] = (), *, brain: Brain | None = None) -> None:
        self.requests: list[Received] = []
        self.asked = Event()
        """Set once a request has come in."""
        self.connections = 0
        self._script = iter(script)
        self._brain = brain
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._frames: dict[int, tuple[Turn, list[bytes]]] = {}

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("the fake server has not been started")
        return cast("int", self._server.sockets[0].getsockname()[1])

    async def start(self, port: int = 0) -> None:
        """Listens on loopback; port 0 takes a free one."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", port)

    async def stop(self) -> None:
        """Hangs up on everyone and listens no more."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            await connection.end()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.stop()

    def opened(self, connection: "_Connection") -> None:
        self.connections += 1
        self._open.add(connection)

    def closed(self, connection: "_Connection") -> None:
        self._open.discard(connection)

    def answer(self, request: Received) -> Answer:
        """The next answer; without one left an error that says so."""
        if not request.path.endswith("/chat/completions"):
            return http_error(404, f"The fake server has no {request.path}", code="not_found")
        if self._brain is not None:
            return self._brain(request.body)
        return next(self._script, http_error(501, "The script has no further turn.", code="script_ended"))

    def frames(self, turn: Turn) -> list[bytes]:
        """The turn's events, built once for each turn object: benchmarks send the same one over and over."""
        known = self._frames.get(id(turn))
        if known is None:
            known = self._frames[id(turn)] = (turn, list(_frames(turn)))
        return known[1]


class _Connection(asyncio.Protocol):
    """One client's connection: requests one after another, each answered by a task."""

    def __init__(self, fake: FakeOpenAI) -> None:
        self._fake = fake
        self._unread = b""
        self._transport: asyncio.Transport | None = None
        self._answering: asyncio.Task[None] | None = None
        self._request: Received | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._fake.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._request is not None and not self._request.answered.is_set():
            self._request.gone.set()
        if self._answering is not None:
            self._answering.cancel()
        self._fake.closed(self)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if (parsed := _parsed(self._unread)) is None:
            return
        self._request, self._unread = parsed
        self._fake.requests.append(self._request)
        self._fake.asked.set()
        self._answering = asyncio.get_running_loop().create_task(self._answer(self._request))

    async def end(self) -> None:
        """Closes the connection and waits for what was being answered."""
        if self._transport is not None:
            self._transport.abort()
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.gather(self._answering, return_exceptions=True)

    async def _answer(self, request: Received) -> None:
        match self._fake.answer(request):
            case HangUp():
                self._hang_up()
            case HttpError() as error:
                self._write(_head(error.status, error.media_type, len(error.body), error.headers) + error.body)
                request.answered.set()
            case Turn() as turn if request.body.get("stream") or turn.body is not None:
                await self._stream(turn, request)
            case Turn() as turn:
                body = orjson.dumps(_whole(turn))
                self._write(_head(200, "application/json", len(body)) + body)
                request.answered.set()

    async def _stream(self, turn: Turn, request: Received) -> None:
        head = _head(200, turn.media_type, None)
        if turn.first_token_s and not turn.late_headers:
            self._write(head)
            head = b""
        if turn.first_token_s:
            await asyncio.sleep(turn.first_token_s)
        for write in _writes(turn, head, self._fake.frames(turn)):
            self._write(write)
            # Also without a pace the loop gets its turn, so that each write is a read of its own on the other side.
            await asyncio.sleep(turn.per_token_s)
        await self._end_stream(turn, request)

    async def _end_stream(self, turn: Turn, request: Received) -> None:
        if turn.stop_after is not None and turn.then == "cut":
            self._hang_up()
        elif turn.stop_after is not None and turn.then == "stall":
            await asyncio.get_running_loop().create_future()
        else:
            request.answered.set()
            self._write(b"0\r\n\r\n")

    def _hang_up(self) -> None:
        # close, not abort: what was written before still arrives.
        if self._transport is not None:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _parsed(unread: bytes) -> tuple[Received, bytes] | None:
    """The first whole request and the bytes behind it; None while it is not all there."""
    head, found, rest = unread.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if len(rest) < length:
        return None
    method, path, _ = first.split(" ", 2)
    body = cast("Json", orjson.loads(rest[:length])) if length else {}
    return Received(method, path, headers, body), rest[length:]


def _head(status: int, media_type: str, length: int | None, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    more = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} -\r\nContent-Type: {media_type}\r\n{size}\r\n{more}\r\n".encode()


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _writes(turn: Turn, head: bytes, frames: list[bytes]) -> Iterator[bytes]:
    """The response cut into writes: by bytes, by events when something is paced, else all at once."""
    if turn.write_bytes:
        body = b"".join(frames)
        cut = [body[at : at + turn.write_bytes] for at in range(0, len(body), turn.write_bytes)]
        yield head
        yield from map(_chunked, cut)
    elif turn.per_token_s or turn.stop_after is not None:
        yield head
        yield from map(_chunked, frames)
    else:
        yield head + b"".join(map(_chunked, frames))


def _frames(turn: Turn) -> Iterator[bytes]:
    """The turn's server-sent events as bytes, as far as they are sent at all."""
    if turn.body is not None:
        yield turn.body
        return
    events = list(_events(turn))
    for event in events[: turn.stop_after]:
        yield b"data: %b\n\n" % event
    if turn.stop_after is not None and turn.then == "error":
        yield b"data: %b\n\n" % orjson.dumps({"error": turn.error})


def _events(turn: Turn) -> Iterator[bytes]:
    yield _delta(turn, {"role": "assistant", "content": ""})
    for token in _tokens(turn):
        yield _delta(turn, {"content": token})
    for token in turn.refusal.split(" ") if turn.refusal else ():
        yield _delta(turn, {"refusal": token})
    for index, call in enumerate(turn.calls):
        yield from _call_events(turn, index, call)
    if (reason := _finish_reason(turn)) is not None:
        yield _delta(turn, {}, finish_reason=reason)
    if turn.usage is not None:
        yield orjson.dumps(_chunk(turn) | {"choices": [], "usage": _usage(turn.usage)})
    if turn.done_line:
        yield b"[DONE]"


def _tokens(turn: Turn) -> Sequence[str]:
    if turn.tokens is not None:
        return turn.tokens
    words = turn.text.split(" ")
    return [f"{word} " for word in words[:-1]] + [word for word in words[-1:] if word]


def _call_events(turn: Turn, index: int, call: Call) -> Iterator[bytes]:
    half = len(call.arguments) // 2
    pieces = call.pieces if call.pieces is not None else (call.arguments[:half], call.arguments[half:])
    function: Json = {"name": call.name, "arguments": ""}
    begin: Json = {"index": index, "id": _call_id(index, call), "type": "function", "function": function}
    yield _delta(turn, {"tool_calls": [begin]})
    for piece in pieces:
        yield _delta(turn, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def _call_id(index: int, call: Call) -> str:
    return call.id or f"call_{index}"


def _finish_reason(turn: Turn) -> str | None:
    if turn.finish_reason is not None:
        return turn.finish_reason or None
    return "tool_calls" if turn.calls else "stop"


def _chunk(turn: Turn) -> Json:
    head: Json = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "usage": None}
    return head | turn.extra


def _delta(turn: Turn, delta: Json, *, finish_reason: str | None = None) -> bytes:
    choice: Json = {"index": 0, "delta": delta | turn.extra, "finish_reason": finish_reason, "logprobs": None}
    return orjson.dumps(_chunk(turn) | {"choices": [choice]})


def _usage(usage: tuple[int, int]) -> Json:
    sent, received = usage
    return {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}


def _whole(turn: Turn) -> Json:
    """The turn as the answer to a request that does not stream."""
    message: Json = {"role": "assistant", "content": "".join(_tokens(turn)) or None, "refusal": turn.refusal or None}
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": _call_id(index, call),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(turn.calls)
        ]
    choice: Json = {"index": 0, "message": message, "finish_reason": _finish_reason(turn)}
    usage = _usage(turn.usage or (0, 0))
    return _chunk(turn) | {"object": "chat.completion", "choices": [choice], "usage": usage}


def one_tool_brain(tool: str, arguments: str, words: int, pace: tuple[float, float]) -> Brain:
    """Asks for one tool, then, given its result, says `words` words: the turn of the benchmarks.

    Units   pace: seconds to the first token, and between tokens.
    """
    first_token_s, per_token_s = pace
    ask = Turn(calls=(Call(name=tool, arguments=arguments),), first_token_s=first_token_s, per_token_s=per_token_s)
    say = Turn(text="word " * words, first_token_s=first_token_s, per_token_s=per_token_s)

    def think(body: Json) -> Turn:
        messages = cast("list[Json]", body["messages"])
        return say if messages[-1]["role"] == "tool" or not tool else ask

    return think


async def serve(port: int, brain: Brain) -> None:
    """Serves until it is interrupted; prints the base URL once it listens."""
    fake = FakeOpenAI(brain=brain)
    await fake.start(port)
    print(json.dumps({"base_url": fake.base_url}), flush=True)  # noqa: T201 - how a benchmark learns the port
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await fake.stop()


def main() -> None:
    """The command line of benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tool", default="", help="the tool to ask for before speaking")
    parser.add_argument("--arguments", default="{}", help="its arguments, JSON")
    parser.add_argument("--words", type=int, default=50)
    parser.add_argument("--first-token-ms", type=float, default=0.0)
    parser.add_argument("--per-token-ms", type=float, default=0.0)
    given = parser.parse_args()
    pace = (given.first_token_ms / 1000, given.per_token_ms / 1000)
    asyncio.run(serve(given.port, one_tool_brain(given.tool, given.arguments, given.words, pace)))


if __name__ == "__main__":
    main()
