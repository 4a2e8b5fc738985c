"""Finds out in the background what became of calls that were under way outside, as the firm's service account."""

from dataclasses import dataclass

import structlog

from domain.kernel import CallId, NewId, Principal
from server.database.identities import PostgresIdentities
from server.worker.again import Again
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
        service = await self.identities.service_member(job.organization_id)
        if service is None:
            log.error("call.no_service_account", orgId=str(job.organization_id))
            return Again()
        principal = Principal(
            organization_id=job.organization_id,
            principal_id=service.principal_id,
            kind=service.kind,
            mode="agent",
            door="worker",
        )
        request = CallRequest(
            call_id=CallId(self.new_id()), tool="call_settle", arguments={"call_id": str(job.subject_id)}
        )
        outcome = await self.gate.call(request, principal)
        if outcome.outcome == "done":
            return None
        log.warning("call.unsettled", callId=str(job.subject_id), code=outcome.error and outcome.error.code)
        return Again()
