"""A run's stream: committed before shown, deltas joined, followers that cost nothing."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from agent.conversations.leases import Lease, RunKey
from agent.conversations.refusals import RunTaken
from agent.events import MessageDelta, MessageStarted, RunCompleted, RunFrame, RunUsage
from agent.frame_tail import KEPT_BYTES, KEPT_FRAMES, FrameTail
from agent.frames import terminal_frame
from agent.run_stream import TAKEN_AWAY, RunStream
from domain.kernel import OrganizationId
from tests.support.turns import PRINCIPAL, RUN
from tools.ports import Unavailable

LEASE = Lease(key=RunKey(organization_id=PRINCIPAL.organization_id, run_id=RUN), epoch=3)


class HeldLog:
    """Satisfies RunLog: each write waits until the test lets it through."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], bool]] = []
        self.arrived = asyncio.Event()
        self.let_through = asyncio.Semaphore(0)
        self.fault: Exception | None = None

    async def append(
        self, organization_id: OrganizationId, frames: Sequence[RunFrame], *, epoch: int, urgent: bool
    ) -> None:
        assert (organization_id, epoch) == (PRINCIPAL.organization_id, LEASE.epoch)
        self.batches.append(([frame.type for frame in frames], urgent))
        self.arrived.set()
        await self.let_through.acquire()
        if self.fault is not None:
            raise self.fault


@asynccontextmanager
async def writing(log: HeldLog, after: int = 0) -> AsyncGenerator[RunStream, None]:
    """A stream whose writer runs."""
    stream = RunStream(LEASE, log, after)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.write())
        yield stream
        stream.close()


def delta(text: str) -> MessageDelta:
    """A piece of the one message."""
    return MessageDelta(message_id="m", delta=text)


async def test_nothing_is_shown_before_it_is_committed() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        stream.emit(MessageStarted(message_id="m"))
        await log.arrived.wait()
        assert stream.tail.after(0) == ()
        log.let_through.release()
        await stream.flush()
        assert [(frame.sequence, frame.type) for frame in stream.tail.after(0) or ()] == [(1, "message.started")]


async def test_text_that_arrives_while_a_write_is_under_way_becomes_one_delta() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        stream.emit(MessageStarted(message_id="m"))
        await log.arrived.wait()
        for piece in "abc":
            stream.emit(delta(piece))
        stream.emit(RunCompleted())
        log.let_through.release()
        log.let_through.release()
        await stream.flush()
        assert log.batches == [(["message.started"], True), (["message.delta", "run.completed"], True)]
        shown = list(stream.tail.after(1) or ())
        assert '"delta":"abc"' in shown[0].data
        assert shown[1].terminal


USAGE = RunUsage(input_tokens=1, output_tokens=1, model_calls=1, tool_calls=0)


async def test_text_and_what_a_run_merely_does_may_linger() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        stream.emit(delta("a"))
        stream.emit(USAGE)
        await log.arrived.wait()
        assert log.batches == [(["message.delta", "run.usage"], False)]
        log.let_through.release()


async def test_what_is_waited_for_does_not_linger() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        stream.emit(USAGE)
        log.let_through.release()
        await stream.flush()
        assert log.batches == [(["run.usage"], True)]


async def test_what_is_urgent_does_not_wait_for_text_that_lingers() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        stream.emit(delta("a"))
        await log.arrived.wait()
        log.arrived.clear()
        stream.emit(delta("b"))
        stream.emit(RunCompleted())
        await log.arrived.wait()
        assert log.batches == [(["message.delta"], False), (["message.delta", "run.completed"], True)]
        log.let_through.release()
        log.let_through.release()
        await stream.flush()
        assert [frame.sequence for frame in stream.tail.after(0) or ()] == [1, 2, 3]


async def test_the_terminal_frame_is_shown_before_it_is_stored_since_the_row_says_the_same() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        stream.emit(MessageStarted(message_id="m"))
        log.let_through.release()
        await stream.flush()
        looked = stream.tail.changed
        ending = asyncio.create_task(stream.end(RunCompleted()))
        await looked.wait()
        assert list(stream.tail.after(1) or ()) == [terminal_frame(RunCompleted(), RUN, 2)]
        assert not ending.done()
        log.let_through.release()
        await ending
        assert log.batches[-1] == (["run.completed"], False)


async def test_after_a_gap_no_terminal_frame_is_shown_but_read_from_the_row() -> None:
    log = HeldLog()
    log.fault = Unavailable("away")
    async with writing(log) as stream:
        stream.emit(MessageStarted(message_id="m"))
        log.let_through.release()
        with pytest.raises(Unavailable):
            await stream.flush()
        with pytest.raises(Unavailable):
            await stream.end(RunCompleted())
        assert (len(log.batches), stream.tail.after(0)) == (1, ())


async def test_a_run_that_is_anothers_by_now_writes_and_shows_nothing_more() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        stream.emit(MessageStarted(message_id="m"))
        await log.arrived.wait()
        stream.emit(delta("a"))
        stream.abandon(TAKEN_AWAY)
        log.let_through.release()
        with pytest.raises(Unavailable, match="another goes on"):
            await stream.flush()
    assert (len(log.batches), stream.tail.after(0)) == (1, ())


async def test_what_the_log_refuses_since_another_carries_the_run_is_not_shown() -> None:
    log = HeldLog()
    log.fault = RunTaken(RUN)
    async with writing(log) as stream:
        stream.emit(MessageStarted(message_id="m"))
        log.let_through.release()
        with pytest.raises(Unavailable, match="another goes on"):
            await stream.flush()
    assert stream.tail.after(0) == ()


async def test_who_goes_on_with_a_run_numbers_on_from_its_last_frame() -> None:
    log = HeldLog()
    async with writing(log, after=7) as stream:
        stream.emit(MessageStarted(message_id="m"))
        log.let_through.release()
        await stream.flush()
        assert [frame.sequence for frame in stream.tail.after(7) or ()] == [8]
        assert stream.tail.after(6) is None


async def test_a_follower_that_is_far_behind_is_sent_to_the_database() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        for _ in range(KEPT_FRAMES + 1):
            stream.emit(MessageStarted(message_id="m"))
        log.let_through.release()
        await stream.flush()
        assert stream.tail.after(0) is None
        assert len(stream.tail.after(1) or ()) == KEPT_FRAMES
        assert stream.tail.after(KEPT_FRAMES + 1) == ()
        assert stream.tail.after(10**9) == ()


async def test_after_a_gap_nothing_more_is_taken() -> None:
    log = HeldLog()
    log.fault = Unavailable("away")
    async with writing(log) as stream:
        stream.emit(MessageStarted(message_id="m"))
        log.let_through.release()
        with pytest.raises(Unavailable):
            await stream.flush()
        with pytest.raises(Unavailable):
            stream.emit(delta("a"))
        assert stream.tail.after(0) == ()


async def test_an_odd_fault_of_the_log_is_told_to_the_run_as_unavailable() -> None:
    log = HeldLog()
    log.fault = ValueError("secret")
    async with writing(log) as stream:
        stream.emit(MessageStarted(message_id="m"))
        log.let_through.release()
        with pytest.raises(Unavailable, match="could not be stored"):
            await stream.flush()


async def test_every_change_wakes_those_who_looked_before_it() -> None:
    log = HeldLog()
    async with writing(log) as stream:
        looked = stream.tail.changed
        stream.emit(MessageStarted(message_id="m"))
        log.let_through.release()
        await looked.wait()
        assert stream.tail.after(0)
        last = stream.tail.changed
        stream.close()
        await last.wait()
        assert stream.tail.closed


def large(sequence: int, size_bytes: int) -> RunFrame:
    """A frame of so many bytes, and a few more."""
    return RunFrame(run_id=RUN, sequence=sequence, type="tool.completed", data="x" * size_bytes)


def test_few_large_frames_are_not_all_kept_and_the_newest_always_is() -> None:
    tail = FrameTail()
    for sequence in range(1, 11):
        tail.add([large(sequence, KEPT_BYTES // 4)])
    assert [frame.sequence for frame in tail.after(7) or ()] == [8, 9, 10]
    assert tail.after(6) is None
    tail.add([large(11, 2 * KEPT_BYTES), large(12, 2 * KEPT_BYTES)])
    assert [frame.sequence for frame in tail.after(11) or ()] == [12]
    assert tail.after(10) is None
    tail.add([large(13, 10)])
    assert [frame.sequence for frame in tail.after(12) or ()] == [13]
    assert tail.after(11) is None
