"""Reads runs back from the database: what any process can say of a run, whoever carries or carried it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from agent.conversations.model import GOING
from agent.conversations.ports import Sessions
from agent.conversations.refusals import RunNotFound
from agent.conversations.runs import Run
from agent.events import RunCancelled, RunCompleted, RunEnded, RunFrame, RunWaiting
from agent.frame_tail import FrameTail
from agent.frames import terminal_frame
from domain.kernel import Principal, RunId

PAGE = 500
"""Frames read at once."""

Frames = Sequence[RunFrame]
"""One or more, in order."""
Pause = Callable[[float], Awaitable[None]]


class RunReader:
    """A principal's own runs as they are stored."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, principal: Principal, run_id: RunId) -> Run:
        """Raises  RunNotFound: no such run that this principal may see."""
        return (await self._look(principal, run_id, None))[0]

    async def page(self, principal: Principal, run_id: RunId, after: int) -> Sequence[RunFrame]:
        """The next stored frames above `after`; empty when there are none yet, or no more."""
        async with self._sessions.session(principal, read_only=True) as store:
            return await store.frames(run_id, after, PAGE)

    async def look(self, principal: Principal, run_id: RunId, after: int) -> tuple[Frames, bool]:
        """The next stored frames above `after`, the last one that is owed included; and whether nothing follows.

        Raises  RunNotFound: no such run that this principal may see.
        """
        run, frames = await self._look(principal, run_id, after)
        if frames:
            return frames, frames[-1].terminal
        # What a run that waits will tell comes later, once it goes on.
        over = run.status not in GOING and after >= run.last_sequence
        return (owed(run, after), over) if over or run.status == "waiting" else ((), False)

    async def tail(
        self, tail: FrameTail, principal: Principal, run_id: RunId, after: int
    ) -> AsyncGenerator[Frames, None]:
        """Every frame above `after` as it is shown, from memory where that reaches back so far, until it closes."""
        seen = after
        while True:
            changed, closed = tail.changed, tail.closed
            frames = tail.after(seen)
            if frames is None:
                frames = await self.page(principal, run_id, seen)
            if frames:
                yield frames
                seen = frames[-1].sequence
            elif closed:
                return
            else:
                await changed.wait()

    async def _look(self, principal: Principal, run_id: RunId, after: int | None) -> tuple[Run, Sequence[RunFrame]]:
        """The row before the frames: once it has ended, every frame but the terminal one is there to be read."""
        async with self._sessions.session(principal, read_only=True) as store:
            run = await store.run(run_id)
            if run is None:
                raise RunNotFound(run_id)
            return run, () if after is None else await store.frames(run_id, after, PAGE)


def last_sequence(run: Run) -> int | None:
    """The number of the run's terminal frame, stored or owed; None before it has ended."""
    if run.status in GOING:
        return None
    return run.last_sequence if run.ended_in_log else run.last_sequence + 1


def owed(run: Run, seen: int) -> Sequence[RunFrame]:
    """The frame that the row of an ended run, or of one that waits, promises and its log lacks.

    A process that dies between the two leaves it so; whoever writes it, writes the same bytes.
    """
    if run.status == "running" or run.ended_in_log or seen > run.last_sequence:
        return ()
    return (terminal_frame(_ended(run), run.run_id, run.last_sequence + 1),)


def _ended(run: Run) -> RunEnded | RunWaiting:
    if run.status == "waiting":
        return RunWaiting(approvals=run.awaited)
    if run.status == "cancelled":
        return RunCancelled()
    return RunCompleted() if run.error is None else run.error
