"""Runs a task's workflow, step by step; every step is a call of its own, on behalf of whoever started the run.

Which steps are done is read from the ledger, by call ids that follow from run and step: a run that another process takes
over goes on from there, and a finished step is not done twice.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import assert_never, cast
from uuid import uuid5

import orjson
import structlog

from domain.activity.service import CallNotFound
from domain.kernel import CallId, Clock, OrganizationId, Outcome, Principal, PrincipalId, TaskRunId
from domain.tasks.model import StepStatus, TaskRun, TaskRunStep
from domain.tasks.service import TaskRunNotFound
from server.database.identities import PostgresIdentities
from server.database.unit_of_work import PostgresTransactions, Session
from tools.gate import Gate
from tools.outcomes import CallOutcome, CallRequest, Json
from tools.work import Job
from tools.workflows import MissingValue, Step, Workflow, Workflows, resolve_arguments

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one step's call ended, now or in an earlier attempt."""

    call_id: CallId
    outcome: Outcome | None
    result: Json | None
    error_code: str | None = None


def call_id_of(task_run_id: TaskRunId, step: str) -> CallId:
    """The id of a step's call: the same in every attempt, so that the ledger tells whether it was made."""
    return CallId(uuid5(task_run_id, step))


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
        self._gate = gate
        self._transactions = transactions
        self._identities = identities
        self._workflows = workflows
        self._clock = clock

    async def work(self, job: Job) -> None:
        """Bring one task run as far as it goes."""
        run = await self._find(job.organization_id, TaskRunId(job.subject_id))
        principal = None if run is None else await self._principal(job.organization_id, run.requester_id)
        if run is None or principal is None:
            log.warning("task_run.gone", taskRunId=str(job.subject_id), orgId=str(job.organization_id))
            return
        workflow = self._workflows.find(run.kind)
        if workflow is None:
            await self._finish(principal, run, "failed", f"There is no workflow {run.kind} any more.")
            return
        await self._run(principal, run, workflow)

    async def _run(self, principal: Principal, run: TaskRun, workflow: Workflow) -> None:
        steps = [TaskRunStep(name=step.name, tool=step.tool) for step in workflow.steps]
        async with self._session(principal) as session:
            progress = await session.progress.start(run.task_run_id, steps, self._clock())
        if progress.finished_at is not None:
            return
        results: dict[str, Json] = {}
        for index, step in enumerate(workflow.steps):
            await self._advance(principal, run, _at(steps, index, "running"), f"{step.name} …")
            ended = await self._step(principal, run, step, results)
            steps[index] = replace(
                steps[index], call_id=ended.call_id, outcome=ended.outcome, status=_status_of(ended.outcome)
            )
            if steps[index].status != "done":
                await self._stop(principal, run, steps, steps[index], ended)
                return
            results[step.name] = ended.result or {}
            await self._advance(principal, run, steps, f"{step.name} done")
        await self._finish(principal, run, "completed", f"{workflow.title}: done.")

    async def _step(self, principal: Principal, run: TaskRun, step: Step, results: dict[str, Json]) -> Ended:
        """Make the step's call, unless the ledger says that it was made."""
        call_id = call_id_of(run.task_run_id, step.name)
        made = await self._from_ledger(principal, call_id)
        if made is not None:
            return made
        try:
            arguments = resolve_arguments(step, cast(Json, orjson.loads(run.input)), results)
        except MissingValue as missing:
            return Ended(call_id=call_id, outcome="invalid", result=None, error_code=str(missing))
        request = CallRequest(
            call_id=call_id,
            tool=step.tool,
            arguments=arguments,
            task_run_id=run.task_run_id,
            engagement_id=run.engagement_id,
        )
        return _ended(await self._gate.call(request, principal))

    async def _from_ledger(self, principal: Principal, call_id: CallId) -> Ended | None:
        async with self._session(principal) as session:
            try:
                item = (await session.work.activity.call(call_id)).item
            except CallNotFound:
                return None
        result = None if item.result is None else cast(Json, orjson.loads(item.result))
        return Ended(call_id=call_id, outcome=item.outcome, result=result, error_code=item.error_code)

    async def _stop(
        self, principal: Principal, run: TaskRun, steps: list[TaskRunStep], step: TaskRunStep, ended: Ended
    ) -> None:
        if step.status == "waiting":
            message = f"{step.name} waits for a person's approval."
            await self._advance(principal, run, steps, message, waiting=True)
            return
        reason = ended.error_code or ended.outcome or "unknown"
        await self._advance(principal, run, steps, f"{step.name} did not succeed")
        await self._finish(principal, run, "failed", f"{step.name} did not succeed: {reason}.")

    async def _advance(
        self, principal: Principal, run: TaskRun, steps: list[TaskRunStep], message: str, *, waiting: bool = False
    ) -> None:
        async with self._session(principal) as session:
            await session.progress.advance(
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

    async def _find(self, organization_id: OrganizationId, task_run_id: TaskRunId) -> TaskRun | None:
        """The run, read as the organization's service account: whose it is, only the run itself says."""
        service = await self._identities.service_member(organization_id)
        if service is None:
            return None
        async with self._transactions.session(organization_id, service.principal_id) as session:
            try:
                return await session.work.tasks.get_run(task_run_id)
            except TaskRunNotFound:
                return None

    async def _principal(self, organization_id: OrganizationId, requester: PrincipalId) -> Principal | None:
        """The run acts on behalf of whoever started it, unattended; None: no longer a member."""
        member = await self._identities.member_of(organization_id, requester)
        if member is None:
            return None
        return Principal(
            organization_id=organization_id,
            principal_id=requester,
            kind=member.kind,
            mode="agent",
            door="worker",
        )

    def _session(self, principal: Principal) -> AbstractAsyncContextManager[Session]:
        return self._transactions.session(principal.organization_id, principal.principal_id, read_only=False)


def _ended(outcome: CallOutcome) -> Ended:
    code = None if outcome.error is None else outcome.error.code
    return Ended(call_id=outcome.call_id, outcome=outcome.outcome, result=outcome.result, error_code=code)


def _status_of(outcome: Outcome | None) -> StepStatus:
    match outcome:
        case "done":
            return "done"
        case "waiting":
            return "waiting"
        case None:
            # Allowed by an attempt whose outcome is not known: it is under way elsewhere, and the sweep looks again.
            return "running"
        case "denied" | "invalid" | "failed" | "cancelled" | "expired" | "rejected" | "dry_run":
            return "failed"
        case _:
            assert_never(outcome)


def _at(steps: list[TaskRunStep], index: int, status: StepStatus) -> list[TaskRunStep]:
    return [replace(step, status=status) if place == index else step for place, step in enumerate(steps)]
