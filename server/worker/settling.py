"""Finds out in the background what became of calls that were under way outside, as the firm's service account."""

from dataclasses import dataclass

import structlog

from domain.kernel import CallId, NewId
from server.database.identities import PostgresIdentities
from server.worker.again import Again
from server.worker.principals import service_account_of
from tools.gate import Gate
from tools.outcomes import CallRequest
from tools.work import Job

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleWorker:
    """Asks the outside until it says, ever more seldom; what waits for the answer has a job of its own afterwards."""

    gate: Gate
    identities: PostgresIdentities
    new_id: NewId

    async def work(self, job: Job) -> Again | None:
        """Settle one call; None: it is recorded how it ended."""
        principal = await service_account_of(self.identities, job.organization_id)
        if principal is None:
            log.error("call.no_service_account", orgId=str(job.organization_id))
            return Again()
        request = CallRequest(
            call_id=CallId(self.new_id()), tool="call_settle", arguments={"call_id": str(job.subject_id)}
        )
        outcome = await self.gate.call(request, principal)
        if outcome.outcome == "done":
            return None
        log.warning("call.unsettled", callId=str(job.subject_id), code=outcome.error and outcome.error.code)
        return Again()
