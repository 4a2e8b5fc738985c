"""A fake OpenAI server: real HTTP on loopback, its answers scripted or thought up by a callable, its faults on demand.

It speaks both APIs by their paths, and the Responses API refuses what the real one refuses of a conversation.

In a test: `async with FakeOpenAI([Turn(text="Hello.")]) as fake:` and a client on `fake.base_url`.
By itself, for benchmarks: `python -m tests.support.fake_openai --port 8099 --tool knowledge_search`.
"""

import argparse
import asyncio
import json
from asyncio import Event
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

import orjson

from tests.support import fake_chat, fake_responses
from tests.support.fake_turns import Answer, Brain, Call, HangUp, HttpError, Json, Turn, http_error


@dataclass(slots=True)
class Received:
    """A request as it came in; `gone` is set when its client hung up before the answer was whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json
    gone: Event = field(default_factory=Event)
    answered: Event = field(default_factory=Event)

    @property
    def speaks_responses(self) -> bool:
        """Whether it came by the Responses API."""
        return self.path.endswith("/responses")


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
        self._frames: dict[tuple[int, bool], tuple[Turn, list[bytes]]] = {}
        self._sealed: set[str] = set()
        self.no_reasoning = False
        """Set: the model is one that refuses to be asked for its reasoning."""

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
        if not request.path.endswith(("/chat/completions", "/responses")):
            return http_error(404, f"The fake server has no {request.path}", code="not_found")
        if request.speaks_responses and (refused := self._refusal(request.body)):
            return refused
        if self._brain is not None:
            return self._brain(request.body)
        return next(self._script, http_error(501, "The script has no further turn.", code="script_ended"))

    def frames(self, turn: Turn, *, responses: bool) -> list[bytes]:
        """The turn's events, built once for each turn object: benchmarks send the same one over and over."""
        known = self._frames.get((id(turn), responses))
        if known is None:
            told = fake_responses.frames(turn) if responses else fake_chat.frames(turn)
            known = self._frames[id(turn), responses] = (turn, list(told))
        if responses and turn.reasoning:
            self._sealed.add(turn.reasoning)
        return known[1]

    def forget_seals(self) -> None:
        """From now on no reasoning that was given out can be read any more: the provider's keys were changed."""
        self._sealed.clear()

    def _refusal(self, body: Json) -> HttpError | None:
        if self.no_reasoning and "include" in body:
            return http_error(400, "Encrypted content is not supported with this model.", code=None)
        return fake_responses.refusal(body, self._sealed)


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
            case Turn() as turn:
                await self._stream(turn, request)

    async def _stream(self, turn: Turn, request: Received) -> None:
        head = _head(200, turn.media_type, None)
        if turn.first_token_s and not turn.late_headers:
            self._write(head)
            head = b""
        if turn.first_token_s:
            await asyncio.sleep(turn.first_token_s)
        for write in _writes(turn, head, self._fake.frames(turn, responses=request.speaks_responses)):
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


def has_result(body: Json) -> bool:
    """Whether the request, of either API, ends with a call's result."""
    last = _said(body)[-1]
    return last.get("role") == "tool" or last.get("type") == "function_call_output"


def words_of(body: Json) -> str:
    """What the person said last, in a request of either API."""
    return str(next((said["content"] for said in reversed(_said(body)) if said.get("role") == "user"), ""))


def _said(body: Json) -> list[Json]:
    return cast("list[Json]", body["messages"] if "messages" in body else body["input"])


def one_tool_brain(tool: str, arguments: str, words: int, pace: tuple[float, float]) -> Brain:
    """Asks for one tool, then, given its result, says `words` words: the turn of the benchmarks.

    Units   pace: seconds to the first token, and between tokens.
    """
    first_token_s, per_token_s = pace
    ask = Turn(calls=(Call(name=tool, arguments=arguments),), first_token_s=first_token_s, per_token_s=per_token_s)
    say = Turn(text="word " * words, first_token_s=first_token_s, per_token_s=per_token_s)

    def think(body: Json) -> Turn:
        return say if has_result(body) or not tool else ask

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
