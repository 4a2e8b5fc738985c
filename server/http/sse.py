"""A run's frames as server-sent events: the stored text goes out as it stands, never written anew."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse

from agent.events import RunFrame

PING_S = 15
SEND_TIMEOUT_S = 30.0
"""For a reader that takes nothing any more; it may come back with Last-Event-ID."""


def event_stream(frames: AsyncGenerator[RunFrame, None]) -> EventSourceResponse:
    """The answer that shows frames as they come; it ends with them, with the reader, or with the server.

    Ending it never ends the run.
    """
    return EventSourceResponse(
        _encoded(frames),
        ping=PING_S,
        ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        sep="\n",
        send_timeout=SEND_TIMEOUT_S,
    )


def encoded(frame: RunFrame) -> bytes:
    """One frame on the wire; its text is JSON on one line, so that it needs no splitting."""
    return f"id: {frame.sequence}\nevent: {frame.type}\ndata: {frame.data}\n\n".encode()


async def _encoded(frames: AsyncGenerator[RunFrame, None]) -> AsyncIterator[bytes]:
    async with aclosing(frames):
        async for frame in frames:
            yield encoded(frame)
