"""Indexes and embeds an uploaded document in the background, each step a call as the organization's service account."""

from dataclasses import dataclass
from typing import cast

import structlog

from domain.kernel import CallId, NewId
from server.database.identities import PostgresIdentities
from server.worker.again import Again
from server.worker.files import FileWorker
from server.worker.principals import service_account_of
from tools.gate import Gate
from tools.outcomes import CallOutcome, CallRequest
from tools.work import Job

log = structlog.get_logger()

OVER = frozenset({"document_not_found", "document_not_ready"})
"""Codes of what no later attempt finds any more: the document was deleted, or could not be read when indexed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentWorker:
    """Takes documents from queued to ready or failed, by way of embedding where there is a server for it."""

    gate: Gate
    identities: PostgresIdentities
    new_id: NewId
    files: FileWorker | None = None
    """What becomes of files that a purge has let go; None: they are in the database, and went with their rows."""

    async def work(self, job: Job) -> Again | None:
        """Take one step with a document, or say that it is still to be taken.

        A file that cannot be read is at its end too, and one that has gone; what follows a step has a job of its own.
        """
        outcome = await self.step(job)
        if outcome is None:
            return Again()
        code = None if outcome.error is None else outcome.error.code
        if outcome.outcome == "done" and job.kind == "document_purge" and self.files is not None:
            digests = cast("list[str]", (outcome.result or {})["files"])
            await self.files.discard(job.organization_id, digests)
        if outcome.outcome == "done" or code in OVER:
            return None
        log.warning("document.put_off", step=job.kind, documentId=str(job.subject_id), code=code)
        return Again()

    async def step(self, job: Job) -> CallOutcome | None:
        """The outcome of the call that the job's kind names; None: no service account to make it as."""
        principal = await service_account_of(self.identities, job.organization_id)
        if principal is None:
            log.error("document.no_service_account", orgId=str(job.organization_id))
            return None
        request = CallRequest(
            call_id=CallId(self.new_id()), tool=job.kind, arguments={"document_id": str(job.subject_id)}
        )
        return await self.gate.call(request, principal)
