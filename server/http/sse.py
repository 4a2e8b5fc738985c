"""A run's frames as server-sent events: the stored text goes out as it stands, never written anew."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing

from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send

from agent.events import RunFrame

PING_S = 15
SEND_TIMEOUT_S = 30.0
"""For a reader that takes nothing any more; it may come back with Last-Event-ID."""
PIECE = 32 * 1024
"""Bytes after which frames that are there together are sent, and the next piece begins."""


class AdmittedStream(EventSourceResponse):
    """Asks for its place only when it is sent: an answer that was made and never sent has none to give back."""

    admitted: AbstractContextManager[None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises  Problem: there is no place."""
        with self.admitted:
            await super().__call__(scope, receive, send)


class EventStreams:
    """The event streams of this process: each ends with its frames, with its reader, or when all are ended.

    Ending a stream never ends the run it shows.
    """

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()
        self._ending = False

    def end_all(self) -> None:
        """End them now, each as a whole answer; readers come back with Last-Event-ID, to another server."""
        self._ending = True
        for task in self._open:
            task.cancel()

    def show(
        self, pages: AsyncGenerator[Sequence[RunFrame], None], admitted: AbstractContextManager[None]
    ) -> EventSourceResponse:
        """The answer that shows frames as they come; it holds what admits it from its first byte to its last.

        Frames that are there together go out in one piece, which costs a fraction of sending each.
        """
        answer = AdmittedStream(
            self._encoded(pages),
            ping=PING_S,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
            sep="\n",
            send_timeout=SEND_TIMEOUT_S,
        )
        answer.admitted = admitted
        return answer

    async def _encoded(self, pages: AsyncGenerator[Sequence[RunFrame], None]) -> AsyncIterator[bytes]:
        """Runs within one task, the answer's own: cancelling that, and no task beside each stream, is what ends it."""
        task = asyncio.current_task()
        if self._ending or task is None:
            return
        self._open.add(task)
        try:
            async with aclosing(pages):
                async for frames in pages:
                    for piece in pieces(frames):
                        yield piece
        except asyncio.CancelledError:
            if not self._ending or task.uncancel() > 0:
                raise
        finally:
            self._open.discard(task)


def pieces(frames: Sequence[RunFrame]) -> Iterator[bytes]:
    """The frames on the wire, joined up to a size that a slow reader can take in time."""
    piece = bytearray()
    for frame in frames:
        piece += encoded(frame)
        if len(piece) >= PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def encoded(frame: RunFrame) -> bytes:
    """One frame on the wire; its text is JSON on one line, so that it needs no splitting."""
    return f"id: {frame.sequence}\nevent: {frame.type}\ndata: {frame.data}\n\n".encode()
