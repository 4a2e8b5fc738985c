"""Indexes an uploaded document in the background: one call through the gate, as the organization's service account."""

from dataclasses import dataclass

import structlog

from domain.kernel import CallId, NewId, Principal
from server.database.identities import PostgresIdentities
from server.worker.again import Again
from tools.gate import Gate
from tools.outcomes import CallOutcome, CallRequest
from tools.work import Job

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentWorker:
    """Takes documents from queued to ready or failed."""

    gate: Gate
    identities: PostgresIdentities
    new_id: NewId

    async def work(self, job: Job) -> Again | None:
        """Index one document, or say that it is still to be indexed; a file that cannot be read is at its end too."""
        outcome = await self.index(job)
        if outcome is None:
            return Again()
        code = None if outcome.error is None else outcome.error.code
        if outcome.outcome == "done" or code == "document_not_found":
            return None
        log.warning("document.not_indexed", documentId=str(job.subject_id), outcome=outcome.outcome, code=code)
        return Again()

    async def index(self, job: Job) -> CallOutcome | None:
        """The outcome of the call; None: the organization has no service account to do it as."""
        service = await self.identities.service_member(job.organization_id)
        if service is None:
            log.error("document.no_service_account", orgId=str(job.organization_id))
            return None
        principal = Principal(
            organization_id=job.organization_id,
            principal_id=service.principal_id,
            kind=service.kind,
            mode="agent",
            door="worker",
        )
        request = CallRequest(
            call_id=CallId(self.new_id()), tool="document_index", arguments={"document_id": str(job.subject_id)}
        )
        return await self.gate.call(request, principal)
