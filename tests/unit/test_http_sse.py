"""Event streams without a socket: bytes as they are stored, a comment every 15 s, and ends that are told apart."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from uuid import UUID

import pytest
from starlette.types import Message

from agent.events import RunFrame
from domain.kernel import RunId
from server.http.sse import PIECE, PING, EventStreams, StreamTimes, encoded, pieces

FRAME = RunFrame(run_id=RunId(UUID(int=1)), sequence=3, type="message.delta", data='{"delta":"é\\n\u2028\u0085💶"}')
NEXT = RunFrame(run_id=FRAME.run_id, sequence=4, type="run.completed", data="{}")
WIRE = b'id: 3\nevent: message.delta\ndata: {"delta":"\xc3\xa9\\n\xe2\x80\xa8\xc2\x85\xf0\x9f\x92\xb6"}\n\n'


class Reader:
    """The far end of an answer: keeps what was sent, and stays for as long as the test does."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.first_event = asyncio.Event()
        self.pinged = asyncio.Event()
        self.gone = asyncio.Event()
        self.takes_nothing = False

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.first_event.set()
        if message.get("body") == PING:
            self.pinged.set()
        if self.takes_nothing and message["type"] == "http.response.body":
            await asyncio.Event().wait()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if message["type"] == "http.response.body"]


class Frames:
    """Two frames that are there together, and then nothing for ever."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def __call__(self) -> AsyncGenerator[Sequence[RunFrame], None]:
        try:
            yield [FRAME, NEXT]
            await asyncio.Event().wait()
        finally:
            self.closed.set()


def test_a_frames_text_goes_out_as_it_stands() -> None:
    assert encoded(FRAME) == WIRE


def test_frames_are_joined_up_to_a_size_and_no_byte_changes() -> None:
    large = replace(FRAME, data="x" * PIECE)
    frames = [FRAME, NEXT, large, FRAME, large, NEXT]
    joined = list(pieces(frames))
    assert b"".join(joined) == b"".join(map(encoded, frames))
    assert len(joined) == 3
    assert list(pieces([])) == []


async def test_a_stream_tells_proxies_not_to_hold_it_back_and_pings() -> None:
    answer = EventStreams().show(Frames()(), nullcontext())

    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.ping_interval == StreamTimes().ping_s == 15


async def test_ended_with_all_others_a_stream_is_a_whole_answer() -> None:
    streams, frames, reader = EventStreams(), Frames(), Reader()
    answering = asyncio.create_task(
        streams.show(frames(), nullcontext())({"type": "http", "method": "GET"}, reader.receive, reader.send)
    )
    await reader.first_event.wait()

    streams.end_all()

    await answering
    assert reader.bodies == [WIRE + encoded(NEXT), b""]
    assert frames.closed.is_set()
    late = Reader()
    await streams.show(Frames()(), nullcontext())({"type": "http", "method": "GET"}, late.receive, late.send)
    assert late.bodies == [b""]


async def test_a_stream_that_is_cancelled_by_itself_is_cancelled() -> None:
    streams, frames, reader = EventStreams(), Frames(), Reader()
    answering = asyncio.create_task(
        streams.show(frames(), nullcontext())({"type": "http", "method": "GET"}, reader.receive, reader.send)
    )
    await reader.first_event.wait()

    answering.cancel()

    with pytest.raises(asyncio.CancelledError):
        await answering
    await frames.closed.wait()


async def test_a_quiet_stream_says_again_and_again_that_it_lives() -> None:
    streams, reader = EventStreams(StreamTimes(ping_s=0.01)), Reader()
    answering = asyncio.create_task(
        streams.show(Frames()(), nullcontext())({"type": "http", "method": "GET"}, reader.receive, reader.send)
    )
    for _ in range(3):
        reader.pinged.clear()
        await reader.pinged.wait()
    streams.end_all()
    await answering
    assert set(reader.bodies[1:-1]) == {b": ping\n\n"}


async def test_a_stream_whose_reader_leaves_ends_without_another_word() -> None:
    streams, frames, reader = EventStreams(), Frames(), Reader()
    answering = asyncio.create_task(
        streams.show(frames(), nullcontext())({"type": "http", "method": "GET"}, reader.receive, reader.send)
    )
    await reader.first_event.wait()
    reader.gone.set()
    await answering
    assert reader.bodies == [WIRE + encoded(NEXT)]
    assert frames.closed.is_set()


async def test_a_reader_that_takes_nothing_is_cut_off_and_nothing_is_kept_for_it() -> None:
    streams, frames, reader = EventStreams(StreamTimes(send_timeout_s=0.01)), Frames(), Reader()
    reader.takes_nothing = True
    await streams.show(frames(), nullcontext())({"type": "http", "method": "GET"}, reader.receive, reader.send)
    # Without a last byte: the server breaks the connection, so that the reader sees that there is more.
    assert reader.bodies == [WIRE + encoded(NEXT)]
    assert frames.closed.is_set()


async def test_a_reader_that_takes_nothing_holds_up_no_shutdown() -> None:
    streams, frames, reader = EventStreams(), Frames(), Reader()
    reader.takes_nothing = True
    answering = asyncio.create_task(
        streams.show(frames(), nullcontext())({"type": "http", "method": "GET"}, reader.receive, reader.send)
    )
    await reader.first_event.wait()
    streams.end_all()
    async with asyncio.timeout(10):
        await answering
    assert frames.closed.is_set()
