"""Ends questions that nobody answers, as the organization's service account: past their time, or of a cancelled run."""

from dataclasses import dataclass

import structlog

from agent.conversations.leases import RunKey
from domain.kernel import CallId, NewId, OrganizationId
from server.database.identities import PostgresIdentities
from server.worker.again import Again
from server.worker.principals import service_account_of
from tools.gate import Gate
from tools.outcomes import CallOutcome, CallRequest, Json
from tools.ports import Unavailable
from tools.work import Job

log = structlog.get_logger()

OVER = frozenset({"nothing_to_expire", "nothing_to_remind"})
"""Codes of what no later attempt finds any more: somebody answered, or the run was cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWorker:
    """What waits for the answer has a job of its own afterwards; satisfies agent.runs.Questions."""

    gate: Gate
    identities: PostgresIdentities
    new_id: NewId

    async def work(self, job: Job) -> Again | None:
        """Expire one approval, or remind of it; None: it is no longer pending."""
        outcome = await self._call(job.organization_id, job.kind, {"approval_id": str(job.subject_id)})
        code = None if outcome is None or outcome.error is None else outcome.error.code
        if code in OVER or (outcome is not None and outcome.outcome == "done"):
            return None
        log.warning("approval.put_off", approvalId=str(job.subject_id), code=code)
        return Again()

    async def withdraw(self, run: RunKey) -> None:
        """Cancel what a run of a conversation waits for.

        Raises  Unavailable: no database, or it is not done.
        """
        outcome = await self._call(run.organization_id, "approval_cancel", {"run_id": str(run.run_id)})
        if outcome is None or outcome.outcome != "done":
            log.error(
                "approval.not_cancelled", runId=str(run.run_id), outcome=None if outcome is None else outcome.outcome
            )
            raise Unavailable("what the run waits for could not be cancelled")

    async def _call(self, organization_id: OrganizationId, tool: str, arguments: Json) -> CallOutcome | None:
        principal = await service_account_of(self.identities, organization_id)
        if principal is None:
            log.error("approval.no_service_account", orgId=str(organization_id))
            return None
        request = CallRequest(call_id=CallId(self.new_id()), tool=tool, arguments=arguments)
        return await self.gate.call(request, principal)
