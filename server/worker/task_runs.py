"""Runs a task's workflow, step by step; every step is a call of its own, on behalf of whoever started the run."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import assert_never

import structlog

from domain.kernel import Clock, Outcome, Principal, TaskRunId
from domain.tasks.model import StepStatus, TaskRun, TaskRunStatus, TaskRunStep
from domain.tasks.service import TaskRunNotFound
from server.database.identities import Member, PostgresIdentities
from server.database.unit_of_work import PostgresTransactions, Session
from server.worker.again import Again
from server.worker.steps import Ended, StepCalls
from tools.gate import Gate
from tools.outcomes import Json
from tools.work import Job
from tools.workflows import Workflow, Workflows

log = structlog.get_logger()

SHORTLY = timedelta(seconds=1)
"""For what has changed just now, or will in a moment."""


class TaskRunWorker:
    """Takes one job at a time from queued, or from where another process left it, to its end or to a wait."""

    def __init__(
        self,
        *,
        gate: Gate,
        transactions: PostgresTransactions,
        identities: PostgresIdentities,
        workflows: Workflows,
        clock: Clock,
    ) -> None:
        self._calls = StepCalls(gate=gate, transactions=transactions)
        self._transactions = transactions
        self._identities = identities
        self._workflows = workflows
        self._clock = clock

    async def work(self, job: Job) -> Again | None:
        """Bring one task run as far as it goes; None: to its end."""
        hub = _acting(await self._identities.service_member(job.organization_id))
        run = None if hub is None else await self._find(hub, TaskRunId(job.subject_id))
        if hub is None or run is None:
            log.warning("task_run.not_found", taskRunId=str(job.subject_id), orgId=str(job.organization_id))
            return Again()
        # The run acts on behalf of whoever started it, unattended.
        principal = _acting(await self._identities.member_of(job.organization_id, run.requester_id))
        workflow = self._workflows.find(run.kind)
        if principal is None:
            return await self._give_up(hub, run, "Whoever started it is no longer a member.")
        if workflow is None:
            return await self._give_up(hub, run, f"There is no workflow {run.kind} any more.")
        return await self._run(principal, run, workflow)

    async def _run(self, principal: Principal, run: TaskRun, workflow: Workflow) -> Again | None:
        steps = [TaskRunStep(name=step.name, tool=step.tool) for step in workflow.steps]
        async with self._session(principal) as session:
            progress = await session.progress.start(run.task_run_id, steps, self._clock())
        if progress.finished_at is not None:
            return await self._ended(principal, run, progress.status)
        results: dict[str, Json] = {}
        for index, step in enumerate(workflow.steps):
            if not await self._advance(principal, run, _at(steps, index, "running"), f"{step.name} …"):
                return await self._ended(principal, run, "cancelled")
            ended = await self._calls.call(principal, run, step, results)
            steps[index] = _step_of(steps[index], ended)
            if steps[index].status != "done":
                return await self._stop(principal, run, steps, index, ended)
            results[step.name] = ended.result or {}
            if not await self._advance(principal, run, steps, f"{step.name} done"):
                return await self._ended(principal, run, "cancelled")
        await self._finish(principal, run, "completed", f"{workflow.title}: done.")
        return None

    async def _ended(self, principal: Principal, run: TaskRun, status: TaskRunStatus) -> Again | None:
        """Nothing is left to do; of a cancelled run, say what the record knows of a step that was under way."""
        if status != "cancelled":
            return None
        async with self._session(principal) as session:
            found = await session.work.tasks.get_run(run.task_run_id)
        steps = [await self._calls.settled(principal, run, step) for step in found.progress.steps]
        async with self._session(principal) as session:
            await session.work.tasks.settle(run, steps)
        return None

    async def _stop(
        self, principal: Principal, run: TaskRun, steps: list[TaskRunStep], index: int, ended: Ended
    ) -> Again | None:
        """The run goes no further than this step: for now, or for ever."""
        name = steps[index].name
        if ended.run_cancelled:
            return await self._ended(principal, run, "cancelled")
        match steps[index].status:
            case "waiting":
                return await self._wait(principal, run, steps, index, ended)
            case "running" | "queued" | "done":
                return Again()
            case "failed" | "cancelled":
                return await self._fail(principal, run, steps, name, ended.error_code or ended.outcome or "unknown")

    async def _wait(
        self, principal: Principal, run: TaskRun, steps: list[TaskRunStep], index: int, ended: Ended
    ) -> Again | None:
        """Rest until the step's approval expires; a decision comes with a job of its own."""
        name, now = steps[index].name, self._clock()
        if not await self._advance(principal, run, steps, f"{name} waits for a person's approval.", waiting=True):
            return await self._ended(principal, run, "cancelled")
        approval = None if ended.approval_id is None else await self._calls.approval(principal, ended.approval_id, now)
        if approval is None or approval.state not in ("pending", "expired"):
            return Again(after=SHORTLY)
        if approval.state == "pending":
            return Again(after=max(approval.expires_at - now, SHORTLY))
        steps[index] = replace(steps[index], status="failed", outcome="expired")
        return await self._fail(principal, run, steps, name, "its approval expired")

    async def _give_up(self, hub: Principal, run: TaskRun, why: str) -> None:
        """End a run of which no step can be made."""
        async with self._session(hub) as session:
            await session.progress.start(run.task_run_id, [], self._clock())
        await self._finish(hub, run, "failed", why)

    async def _fail(
        self, principal: Principal, run: TaskRun, steps: list[TaskRunStep], name: str, why: str
    ) -> Again | None:
        if not await self._advance(principal, run, steps, f"{name} did not succeed"):
            return await self._ended(principal, run, "cancelled")
        await self._finish(principal, run, "failed", f"{name} did not succeed: {why}.")
        return None

    async def _advance(
        self, principal: Principal, run: TaskRun, steps: list[TaskRunStep], message: str, *, waiting: bool = False
    ) -> bool:
        """Whether the run still goes on."""
        async with self._session(principal) as session:
            return await session.progress.advance(
                run.task_run_id, steps, message, self._clock(), status="waiting" if waiting else "running"
            )

    async def _finish(self, principal: Principal, run: TaskRun, status: str, message: str) -> None:
        failed = status == "failed"
        async with self._session(principal) as session:
            await session.progress.finish(
                run.task_run_id,
                "failed" if failed else "completed",
                message,
                self._clock(),
                failure=message if failed else None,
            )

    async def _find(self, hub: Principal, task_run_id: TaskRunId) -> TaskRun | None:
        """The run, read as the organization's service account: whose it is, only the run itself says."""
        async with self._transactions.session(hub.organization_id, hub.principal_id) as session:
            try:
                return await session.work.tasks.get_run(task_run_id)
            except TaskRunNotFound:
                return None

    def _session(self, principal: Principal) -> AbstractAsyncContextManager[Session]:
        return self._transactions.session(principal.organization_id, principal.principal_id, read_only=False)


def _acting(member: Member | None) -> Principal | None:
    """The member as whom background work is done: always an agent's."""
    if member is None:
        return None
    return Principal(
        organization_id=member.organization_id,
        principal_id=member.principal_id,
        kind=member.kind,
        mode="agent",
        door="worker",
    )


def _step_of(step: TaskRunStep, ended: Ended) -> TaskRunStep:
    return replace(step, call_id=ended.call_id, outcome=ended.outcome, status=_status_of(ended.outcome))


def _status_of(outcome: Outcome | None) -> StepStatus:
    match outcome:
        case "done":
            return "done"
        case "waiting":
            return "waiting"
        case None:
            # Allowed by an attempt whose outcome is not known: it is under way elsewhere, and is looked at again.
            return "running"
        case "denied" | "invalid" | "failed" | "cancelled" | "expired" | "rejected" | "dry_run":
            return "failed"
        case _:
            assert_never(outcome)


def _at(steps: list[TaskRunStep], index: int, status: StepStatus) -> list[TaskRunStep]:
    return [replace(step, status=status) if place == index else step for place, step in enumerate(steps)]
