"""A worker at one task run, on a hub that has no other."""

from uuid import UUID

from domain.kernel import OrganizationId
from server.hub import Hub
from server.worker.again import Again
from server.worker.task_runs import TaskRunWorker
from tests.support.firms import FIRM_A
from tools.work import Job


async def work_at(hub: Hub, task_run_id: UUID, organization_id: UUID = FIRM_A.organization_id) -> Again | None:
    """Take the run as far as it goes without a person."""
    worker = TaskRunWorker(
        gate=hub.gate,
        transactions=hub.transactions,
        identities=hub.identities,
        workflows=hub.rules.workflows,
        clock=hub.clock,
    )
    return await worker.work(
        Job(kind="task_run", organization_id=OrganizationId(organization_id), subject_id=task_run_id)
    )
