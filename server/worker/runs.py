"""Goes on with agent runs whose process is gone, or has let go of them."""

from datetime import timedelta

import structlog

from agent.conversations.leases import RunKey
from agent.runs import Runs
from domain.kernel import RunId
from server.worker.again import Again
from tools.ports import Unavailable
from tools.work import Job

log = structlog.get_logger()

SOON = timedelta(seconds=5)
"""Somebody reads along: a run does not rest longer each time that the database was away."""


class RunWorker:
    """Takes a run over, and is done with its job as soon as the run is carried: it has a lease of its own."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def work(self, job: Job) -> Again | None:
        """None: the run is carried, here or elsewhere, or has ended."""
        try:
            await self._runs.go_on(RunKey(organization_id=job.organization_id, run_id=RunId(job.subject_id)))
        except Unavailable as away:
            log.warning("run.put_off", runId=str(job.subject_id), reason=str(away))
            return Again(after=SOON)
        return None
