"""A run's frames as server-sent events: the stored text goes out as it stands, never written anew."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog
from sse_starlette.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send

log = structlog.get_logger()

PING = b": ping\n\n"
LAST_WORD_S = 1.0
"""What a stream that is cut short has for its last byte; a reader that takes nothing holds up no shutdown."""
PIECE = 32 * 1024
"""Bytes after which frames that are there together are sent, and the next piece begins."""


class Frame(Protocol):
    """One event as it is shown: its number, its type, and its text, which is JSON on one line."""

    @property
    def sequence(self) -> int: ...

    @property
    def type(self) -> str: ...

    @property
    def data(self) -> str: ...


Pages = AsyncGenerator[Sequence[Frame], None]
Early = Literal["left", "cut", "stalled"]
"""The reader is gone; all streams are to end; the reader took nothing for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """How streams are kept alive, and how patient they are."""

    ping_s: float = 15.0
    send_timeout_s: float = 30.0
    """For a reader that takes nothing any more; it may come back with Last-Event-ID."""


class OpenStream:
    """One answer that is being sent, by the task that answers its request: whatever ends it early cancels that task."""

    def __init__(self, task: "asyncio.Task[object]", send: Send, times: StreamTimes) -> None:
        self._task = task
        self._send = send
        self._times = times
        self._loop = asyncio.get_running_loop()
        self._sending = False
        self._over = False
        self._ping: asyncio.Task[None] | None = None
        self._next_ping = self._loop.call_later(times.ping_s, self._ping_now)
        self.ended: Early | None = None
        """Why it ends before its frames do."""

    async def send(self, piece: bytes) -> None:
        """Returns when the reader's connection has taken it; a reader that does not is cut off."""
        self._sending = True
        await self._sent(piece)
        self._sending = False

    async def watch(self, receive: Receive) -> None:
        """Returns when the reader is gone, and with it what was being sent."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end("left")

    def end(self, why: Early) -> None:
        """End it now; the first word counts."""
        if self.ended is None and not self._over:
            self.ended = why
            self._task.cancel()

    def ended_as_told(self) -> bool:
        """Whether a cancellation was one of these ends, and not the request's own."""
        return self.ended is not None and self._task.uncancel() == 0

    def shown(self) -> None:
        """All is shown that will be: from here on nothing ends it early."""
        self._over = True

    async def close(self) -> None:
        """No ping follows."""
        self._next_ping.cancel()
        if self._ping is not None:
            self._ping.cancel()
            await asyncio.wait([self._ping])

    def _ping_now(self) -> None:
        """Tell proxies and readers that the stream lives; one that is being sent tells so by itself."""
        self._next_ping = self._loop.call_later(self._times.ping_s, self._ping_now)
        if not self._sending and (self._ping is None or self._ping.done()):
            self._ping = self._loop.create_task(self._sent(PING))

    async def _sent(self, body: bytes) -> None:
        try:
            async with asyncio.timeout(self._times.send_timeout_s):
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except TimeoutError:
            self.end("stalled")


class RunEvents(EventSourceResponse):
    """The answer that shows a run's frames as they come, by two tasks where the library's own sending takes five.

    Its place is asked for only when it is sent: an answer that was made and never sent has none to give back.
    """

    streams: "EventStreams"
    pages: Pages
    admitted: AbstractContextManager[None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises  Problem: there is no place."""
        with self.admitted:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            stream = OpenStream(_this_task(), send, self.streams.times)
            watching = asyncio.create_task(stream.watch(receive))
            try:
                await self._show(stream)
            finally:
                watching.cancel()
                await asyncio.wait([watching])
                await stream.close()
            await _end(stream, send, self.streams.times)

    async def _show(self, stream: OpenStream) -> None:
        try:
            async with aclosing(self.pages) as pages:
                if self.streams.begin(stream):
                    await _send_all(pages, stream)
        except asyncio.CancelledError:
            if not stream.ended_as_told():
                raise
        finally:
            self.streams.forget(stream)
            stream.shown()


async def _send_all(pages: Pages, stream: OpenStream) -> None:
    async for frames in pages:
        for piece in pieces(frames):
            await stream.send(piece)


async def _end(stream: OpenStream, send: Send, times: StreamTimes) -> None:
    """The last byte, for a reader that is there to take it; without it the server breaks the connection."""
    if stream.ended == "stalled":
        log.info("stream.stalled")
    elif stream.ended != "left":
        try:
            async with asyncio.timeout(LAST_WORD_S if stream.ended == "cut" else times.send_timeout_s):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.info("stream.stalled")


def _this_task() -> "asyncio.Task[object]":
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("an answer is sent by a task")
    return task


class EventStreams:
    """The event streams of this process: each ends with its frames, with its reader, or when all are ended.

    Ending a stream never ends the run it shows.
    """

    def __init__(self, times: StreamTimes | None = None) -> None:
        self.times = times or StreamTimes()
        self._open: set[OpenStream] = set()
        self._ending = False

    def end_all(self) -> None:
        """End them now, each as a whole answer; readers come back with Last-Event-ID, to another server."""
        self._ending = True
        for stream in self._open:
            stream.end("cut")

    def show(self, pages: Pages, admitted: AbstractContextManager[None]) -> RunEvents:
        """The answer that shows frames as they come; it holds what admits it from its first byte to its last.

        Frames that are there together go out in one piece, which costs a fraction of sending each.
        """
        answer = RunEvents(pages, sep="\n", ping=self.times.ping_s)
        answer.streams, answer.pages, answer.admitted = self, pages, admitted
        return answer

    def begin(self, stream: OpenStream) -> bool:
        """The stream is one of these until it is forgotten; False: all are ended, and it is to end at once."""
        self._open.add(stream)
        return not self._ending

    def forget(self, stream: OpenStream) -> None:
        """The stream has ended."""
        self._open.discard(stream)


def pieces(frames: Sequence[Frame]) -> Iterator[bytes]:
    """The frames on the wire, joined up to a size that a slow reader can take in time."""
    piece = bytearray()
    for frame in frames:
        piece += encoded(frame)
        if len(piece) >= PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def encoded(frame: Frame) -> bytes:
    """One frame on the wire; its text is JSON on one line, so that it needs no splitting."""
    return f"id: {frame.sequence}\nevent: {frame.type}\ndata: {frame.data}\n\n".encode()
