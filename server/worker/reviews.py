"""Keeps what the record says of the agent's calls up to date, as each firm's service account."""

from dataclasses import dataclass, field

import structlog

from domain.kernel import CallId, NewId, OrganizationId
from server.database.identities import PostgresIdentities
from server.database.queue import PostgresJobs
from server.database.reviews import PostgresReviews
from server.worker.again import Again
from server.worker.principals import service_account_of
from tools.gate import Gate
from tools.outcomes import CallRequest
from tools.work import Job

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DueReviews:
    """Finds the firms whose record has something new to say, and gives each a job."""

    reviews: PostgresReviews
    jobs: PostgresJobs
    _seen: dict[OrganizationId, int] = field(default_factory=dict[OrganizationId, int])
    """Up to where each record was looked at: what lies before is read no second time to find nothing."""

    async def find(self) -> None:
        """Raises  Unavailable: no database."""
        grown = await self.reviews.grown(self._seen)
        due = [each.organization_id for each in grown if each.due]
        if due:
            await self.jobs.enqueue([Job(kind="autonomy_review", organization_id=of, subject_id=of) for of in due])
        self._seen.update({each.organization_id: each.size for each in grown})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewWorker:
    """Reviews one firm's record; one that could not be reviewed is tried again."""

    gate: Gate
    identities: PostgresIdentities
    new_id: NewId

    async def work(self, job: Job) -> Again | None:
        """None: it is done."""
        principal = await service_account_of(self.identities, job.organization_id)
        if principal is None:
            log.error("autonomy.no_service_account", orgId=str(job.organization_id))
            return Again()
        request = CallRequest(call_id=CallId(self.new_id()), tool="autonomy_review", arguments={})
        outcome = await self.gate.call(request, principal)
        if outcome.outcome == "done":
            return None
        log.warning("autonomy.not_reviewed", orgId=str(job.organization_id), outcome=outcome.outcome)
        return Again()
