"""Carries out erasures that a second person has approved, batch by batch, as the organization's service account."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from domain.kernel import CallId, NewId
from server.database.identities import PostgresIdentities
from server.worker.again import Again
from server.worker.principals import service_account_of
from tools.gate import Gate
from tools.outcomes import CallRequest
from tools.work import Job

log = structlog.get_logger()

SOON = timedelta(seconds=1)
"""What is under way was told to end, and mostly does within moments."""
MOST_BATCHES = 50
"""Of one job; then others have their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureWorker:
    """Each batch is a call and one commit: whoever takes over from a worker that was killed goes on behind the last."""

    gate: Gate
    identities: PostgresIdentities
    new_id: NewId

    async def work(self, job: Job) -> Again | None:
        """None: nothing is left of the person."""
        principal = await service_account_of(self.identities, job.organization_id)
        if principal is None:
            log.error("erasure.no_service_account", orgId=str(job.organization_id))
            return Again()
        state = None
        for _ in range(MOST_BATCHES):
            request = CallRequest(
                call_id=CallId(self.new_id()),
                tool="privacy_erase_step",
                arguments={"erasure_id": str(job.subject_id)},
            )
            outcome = await self.gate.call(request, principal)
            if outcome.outcome != "done" or outcome.result is None:
                log.warning("erasure.put_off", erasureId=str(job.subject_id), code=outcome.error and outcome.error.code)
                return Again()
            before, state = state, outcome.result["state"]
            if outcome.result["waits"] and state == before:
                return Again(after=SOON)
            if state == "done" and not outcome.result["removed"]:
                return None
        return Again(after=timedelta(0))
