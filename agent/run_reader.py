"""Reads runs back from the database: what any process can say of a run, whoever carries or carried it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import timedelta

from agent.conversations.model import Run, RunNotFound
from agent.conversations.ports import Sessions
from agent.events import RunCancelled, RunCompleted, RunEnded, RunFailed, RunFrame
from agent.frames import terminal_frame
from domain.kernel import Principal, RunId

PAGE = 500
"""Frames read at once."""

Frames = Sequence[RunFrame]
"""One or more, in order."""
Pause = Callable[[float], Awaitable[None]]


class RunReader:
    """A principal's own runs as they are stored. `poll`: how often a run carried elsewhere is looked at."""

    def __init__(self, sessions: Sessions, *, poll: timedelta, pause: Pause) -> None:
        self._sessions = sessions
        self._poll = poll
        self._pause = pause

    async def find(self, principal: Principal, run_id: RunId) -> Run:
        """Raises  RunNotFound: no such run that this principal may see."""
        return (await self._look(principal, run_id, None))[0]

    async def page(self, principal: Principal, run_id: RunId, after: int) -> Sequence[RunFrame]:
        """The next stored frames above `after`; empty when there are none yet, or no more."""
        async with self._sessions.session(principal, read_only=True) as store:
            return await store.frames(run_id, after, PAGE)

    async def pages(self, principal: Principal, run_id: RunId, after: int) -> AsyncGenerator[Frames, None]:
        """Every frame above `after` as it is stored, to the terminal one; nothing when that was seen before.

        Raises  RunNotFound: no such run that this principal may see.
        """
        seen = after
        while True:
            run, frames = await self._look(principal, run_id, seen)
            if frames:
                yield frames
                seen = frames[-1].sequence
            if frames and frames[-1].terminal:
                return
            if run.status != "running" and seen >= run.last_sequence:
                if last := owed(run, seen):
                    yield last
                return
            if not frames:
                await self._pause(self._poll.total_seconds())

    async def _look(self, principal: Principal, run_id: RunId, after: int | None) -> tuple[Run, Sequence[RunFrame]]:
        """The row before the frames: once it has ended, every frame but the terminal one is there to be read."""
        async with self._sessions.session(principal, read_only=True) as store:
            run = await store.run(run_id)
            if run is None:
                raise RunNotFound(run_id)
            return run, () if after is None else await store.frames(run_id, after, PAGE)


def last_sequence(run: Run) -> int | None:
    """The number of the run's terminal frame, stored or owed; None while it is running."""
    if run.status == "running":
        return None
    return run.last_sequence if run.ended_in_log else run.last_sequence + 1


def owed(run: Run, seen: int) -> Sequence[RunFrame]:
    """The terminal frame that an ended run's row promises and its log lacks.

    A process that dies between the two leaves it so; whoever writes it, writes the same bytes.
    """
    if run.status == "running" or run.ended_in_log or seen > run.last_sequence:
        return ()
    return (terminal_frame(_ended(run), run.run_id, run.last_sequence + 1),)


def _ended(run: Run) -> RunEnded:
    if run.status == "cancelled":
        return RunCancelled()
    return RunCompleted() if run.error is None else run.error


INTERRUPTED = RunFailed(
    code="interrupted",
    message="The server stopped while this was being answered. Ask again; what was done stands in the activity log.",
    retryable=True,
)
"""How a run ends whose process went away."""
