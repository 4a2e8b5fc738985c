"""The calls of a task run's steps: made once, and read back from the ledger whoever made them.

Which steps are done is read from the ledger, by call ids that follow from run and step: a run that another process
takes over goes on from there, and a finished step is not done twice, however many work on it.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast
from uuid import uuid5

import orjson

from domain.activity.model import ActivityItem
from domain.activity.service import CallNotFound
from domain.approvals.model import Approval
from domain.kernel import ApprovalId, CallId, Outcome, Principal, TaskRunId
from domain.tasks.model import TaskRun, TaskRunStep
from server.database.unit_of_work import PostgresTransactions
from tools.gate import Gate
from tools.outcomes import CallOutcome, CallRequest, Json
from tools.workflows import MissingValue, Step, resolve_arguments

RUN_CANCELLED = "task_run_cancelled"
"""The rule by which policy refuses a step of a cancelled run, and the code of one that could not ask any more."""
MOST_ATTEMPTS = 20
"""How often a step whose call was cut off by a worker that stopped is called again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one step's call ended, now or in an earlier attempt."""

    call_id: CallId
    outcome: Outcome | None
    """None: allowed, and how it ended is not known yet."""
    result: Json | None = None
    error_code: str | None = None
    reasons: tuple[str, ...] = ()
    """Of the verdict."""
    approval_id: ApprovalId | None = None

    @property
    def run_cancelled(self) -> bool:
        """The run was cancelled before this step began, or while it waited to ask a person."""
        return self.error_code == RUN_CANCELLED or RUN_CANCELLED in self.reasons

    @property
    def cut_off(self) -> bool:
        """A worker stopped in the midst of the call: nothing of it stands, and it can be made again.

        A waiting call that a person cancels is another matter.
        """
        return self.outcome == "cancelled" and self.approval_id is None


def call_id_of(task_run_id: TaskRunId, step: str, attempt: int = 0) -> CallId:
    """The id of a step's call: the same in every process, so that the ledger tells whether it was made."""
    return CallId(uuid5(task_run_id, f"{step}#{attempt}" if attempt else step))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCalls:
    """Makes the calls of steps through the gate, unless the ledger says that they were made."""

    gate: Gate
    transactions: PostgresTransactions

    async def call(self, principal: Principal, run: TaskRun, step: Step, results: dict[str, Json]) -> Ended:
        """How the step's call ended; `results` are those of the steps before it."""
        attempt = 0
        while (ended := await self._once(principal, run, step, results, attempt)).cut_off:
            attempt += 1
            if attempt == MOST_ATTEMPTS:
                break
        return ended

    async def settled(self, principal: Principal, run: TaskRun, step: TaskRunStep) -> TaskRunStep:
        """A step of a cancelled run as the record knows it, where it was under way when the run was cancelled."""
        if step.status != "running":
            return step
        last: Ended | None = None
        for attempt in range(MOST_ATTEMPTS):
            made = await self._recorded(principal, call_id_of(run.task_run_id, step.name, attempt))
            if made is None:
                break
            last = made
        return replace(step, status="cancelled") if last is None else _settled(step, last)

    async def approval(self, principal: Principal, approval_id: ApprovalId, now: datetime) -> Approval:
        """The approval that a step waits for, as it stands at `now`."""
        async with self.transactions.session(principal.organization_id, principal.principal_id) as session:
            return (await session.work.approvals.get(approval_id, now)).approval

    async def _once(
        self, principal: Principal, run: TaskRun, step: Step, results: dict[str, Json], attempt: int
    ) -> Ended:
        call_id = call_id_of(run.task_run_id, step.name, attempt)
        made = await self._recorded(principal, call_id)
        if made is not None:
            return made
        try:
            arguments = resolve_arguments(step, cast(Json, orjson.loads(run.input)), results)
        except MissingValue as missing:
            return Ended(call_id=call_id, outcome="invalid", error_code=str(missing))
        request = CallRequest(
            call_id=call_id,
            tool=step.tool,
            arguments=arguments,
            task_run_id=run.task_run_id,
            engagement_id=run.engagement_id,
        )
        return await self._make(principal, request)

    async def _make(self, principal: Principal, request: CallRequest) -> Ended:
        outcome = await self.gate.call(request, principal)
        if outcome.error is None or outcome.error.code != "duplicate_call":
            return _ended(outcome)
        # Another worker was quicker: its call is this step's.
        made = await self._recorded(principal, request.call_id)
        return Ended(call_id=request.call_id, outcome=None) if made is None else made

    async def _recorded(self, principal: Principal, call_id: CallId) -> Ended | None:
        async with self.transactions.session(principal.organization_id, principal.principal_id) as session:
            try:
                return _recorded((await session.work.activity.call(call_id)).item)
            except CallNotFound:
                return None


def _settled(step: TaskRunStep, ended: Ended) -> TaskRunStep:
    known = replace(step, call_id=ended.call_id, outcome=ended.outcome)
    match ended.outcome:
        case None:
            return known
        case "done":
            return replace(known, status="done")
        case "failed" | "invalid" if not ended.run_cancelled:
            return replace(known, status="failed")
        case _:
            return replace(known, status="cancelled")


def _recorded(item: ActivityItem) -> Ended:
    return Ended(
        call_id=item.call_id,
        outcome=item.outcome,
        result=None if item.result is None else cast(Json, orjson.loads(item.result)),
        error_code=item.error_code,
        reasons=item.reasons,
        approval_id=item.approval_id,
    )


def _ended(outcome: CallOutcome) -> Ended:
    return Ended(
        call_id=outcome.call_id,
        outcome=outcome.outcome,
        result=outcome.result,
        error_code=None if outcome.error is None else outcome.error.code,
        reasons=() if outcome.verdict is None else outcome.verdict.reasons,
        approval_id=None if outcome.approval is None else outcome.approval.approval_id,
    )
