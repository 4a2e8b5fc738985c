"""Runs that change hands: which processes are alive, what they let go of, and as whom a run goes on elsewhere."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog

from agent.conversations.leases import Lease, RunKey, TakenRun
from agent.conversations.ports import RunKeeper
from agent.events import RunCancelled, RunFailed
from agent.live_run import LiveRun
from domain.kernel import Principal, RunId
from tools.ports import JobQueue, Unavailable
from tools.work import Job

log = structlog.get_logger()

CANNOT_GO_ON = RunFailed(
    code="interrupted",
    message="The server stopped while this was being answered, and no other can go on with it. Ask again; what was "
    "done stands in the activity log.",
    retryable=True,
)


class RunLeases:
    """Signs of life for the runs of this process, and word for others of those that nobody carries."""

    def __init__(self, keeper: RunKeeper, queue: JobQueue, stale_after: timedelta) -> None:
        self._keeper = keeper
        self._queue = queue
        self._stale_after = stale_after

    async def beat(self, live: Mapping[RunId, LiveRun]) -> None:
        """Say that these runs are alive, and hear which of them somebody cancelled or took away."""
        held = dict(live)
        if not held:
            return
        pulse = await self._keeper.beat([each.lease for each in held.values() if not each.lost])
        for run_id, each in held.items():
            if run_id not in pulse.running and run_id in live and not each.settled:
                each.lose()
            if run_id in pulse.to_cancel:
                each.stop(RunCancelled())

    async def recover(self) -> Sequence[RunKey]:
        """Have the runs whose process is gone gone on with, by whoever takes jobs; gives those there were."""
        left = await self._keeper.stale(self._stale_after)
        if left:
            await self._queue.enqueue([_job_of(run) for run in left])
        return left

    async def let_go(self, leases: Sequence[Lease]) -> None:
        """Let go of the runs, as far as the database is there to be told."""
        with suppress(Unavailable):
            await self._keeper.release(leases)

    async def hand_over(self, leases: Sequence[Lease]) -> None:
        """Let go of the runs, and have them gone on with at once; without a database they are found by their leases."""
        try:
            await self._keeper.release(leases)
            await self._queue.enqueue([_job_of(lease.key) for lease in leases])
        except Unavailable as away:
            log.warning("runs.not_handed_over", count=len(leases), exc_info=away)
        else:
            log.info("runs.handed_over", count=len(leases))


def _job_of(run: RunKey) -> Job:
    """The job of going on with a run."""
    return Job(kind="run", organization_id=run.organization_id, subject_id=run.run_id)


def principal_of(taken: TakenRun) -> Principal:
    """As whom a run goes on: always an agent's, for the one who asked, at the door where that was."""
    return Principal(
        organization_id=taken.lease.key.organization_id,
        principal_id=taken.owner_id,
        kind=taken.owner_kind,
        mode="agent",
        door=taken.door,
        scheduled=taken.scheduled,
    )


def gave_up(lost: int) -> RunFailed:
    """How a run ends that takes down whoever carries it, or seems to."""
    return RunFailed(
        code="gave_up",
        message=f"This was begun {lost} times, and each time the server stopped in the midst of it. It is not tried "
        "again; what was done stands in the activity log.",
        retryable=False,
    )
