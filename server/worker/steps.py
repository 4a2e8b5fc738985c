"""The calls of a task run's steps: made once, and read back from the ledger whoever made them.

Which calls were made is read from the ledger, by ids that follow from run, step, item and attempt: a run that another
process takes over goes on from there, and a finished call is not made twice, however many work on it.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast
from uuid import uuid5
from zoneinfo import ZoneInfo

import orjson

from domain.activity.model import ActivityItem
from domain.activity.service import CallNotFound
from domain.approvals.model import Approval
from domain.kernel import ApprovalId, CallId, Clock, Outcome, Principal, TaskRunId
from domain.tasks.model import TaskRun, TaskRunStep
from server.database.unit_of_work import PostgresTransactions, Session
from server.worker.again import MOST_CUT_OFF
from tools.gate import Gate
from tools.outcomes import NEVER_TO_BE_KNOWN, OUTCOME_UNKNOWN, CallOutcome, CallRequest, Json
from tools.workflows import MOST_RETRIES, Step

RUN_CANCELLED = "task_run_cancelled"
"""The rule by which policy refuses a step of a cancelled run, and the code of one that could not ask any more."""
FOR_GOOD = frozenset({"result_too_large", "result_invalid", NEVER_TO_BE_KNOWN})
"""Codes of failures that another attempt does not mend, or might do twice."""


AT_ONCE_S = 2.0
"""A pause of no more than this is waited for in place; a longer one in the queue, where it holds nothing."""

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one step's call ended, now or in an earlier attempt; of several calls, what they come to together."""

    call_id: CallId | None
    outcome: Outcome | None
    """None: allowed, and how it ended is not known yet; or it is to be made again, at `again_at`."""
    result: Json | None = None
    error_code: str | None = None
    reasons: tuple[str, ...] = ()
    """Of the verdict."""
    approval_ids: tuple[ApprovalId, ...] = ()
    """What it waits for."""
    at: datetime | None = None
    """When it ended, as the ledger has it; None: just now."""
    attempts: int = 1
    again_at: datetime | None = None
    """It failed, and is to be made again then."""

    @property
    def run_cancelled(self) -> bool:
        """The run was cancelled before this step began, or while it waited to ask a person."""
        return self.error_code == RUN_CANCELLED or RUN_CANCELLED in self.reasons

    @property
    def cut_off(self) -> bool:
        """A worker stopped in the midst of the call: nothing of it stands, and it can be made again.

        A waiting call that a person cancels is another matter.
        """
        return self.outcome == "cancelled" and not self.approval_ids

    @property
    def may_succeed_later(self) -> bool:
        """It failed or ran out of time; what is denied or invalid stays so."""
        return self.outcome == "failed" and self.error_code not in FOR_GOOD


def call_id_of(task_run_id: TaskRunId, step: str, attempt: int = 0) -> CallId:
    """The id of a call: the same in every process, so that the ledger tells whether it was made.

    `step`: its name, and of a call for one item of a list also which: `remind/3`.
    """
    return CallId(uuid5(task_run_id, f"{step}#{attempt}" if attempt else step))


@dataclass(slots=True, kw_only=True)
class StepCalls:
    """Makes the calls of one run through the gate, unless the ledger says that they were made."""

    gate: Gate
    transactions: PostgresTransactions
    clock: Clock
    principal: Principal
    run: TaskRun
    pause: Pause
    made: dict[CallId, Ended] = field(default_factory=dict[CallId, Ended])
    """What the ledger had when the run was taken up."""

    async def read_ledger(self) -> None:
        """Learn what of the run was done before."""
        async with self._session() as session:
            items = await session.work.activity.of_task_run(self.run.task_run_id)
        self.made = {item.call_id: _recorded(item) for item in items}

    async def call(self, step: Step, name: str, arguments: Json) -> Ended:
        """How the call ended, or when it is to be made again. `name`: the step's, and which item it is about."""
        failures, ended = 0, Ended(call_id=None, outcome=None)
        for attempt in range(MOST_CUT_OFF + step.retries.times):
            call_id = call_id_of(self.run.task_run_id, name, attempt)
            ended = replace(await self._once(step, call_id, arguments), attempts=attempt + 1)
            if ended.cut_off:
                continue
            if not ended.may_succeed_later or failures == step.retries.times:
                return ended
            failures += 1
            again_at = (ended.at or self.clock()) + step.retries.pause_before(failures, call_id)
            left_s = (again_at - self.clock()).total_seconds()
            if left_s > AT_ONCE_S:
                return replace(ended, outcome=None, again_at=again_at)
            await self.pause(max(left_s, 0))
        return ended

    async def approval(self, approval_id: ApprovalId, now: datetime) -> Approval:
        """An approval that a step waits for, as it stands at `now`."""
        async with self._session() as session:
            return (await session.work.approvals.get(approval_id, now)).approval

    async def _once(self, step: Step, call_id: CallId, arguments: Json) -> Ended:
        made = self.made.get(call_id)
        if made is None:
            return await self._make(step, call_id, arguments)
        return made if made.outcome is not None else await self._settled_outside(call_id)

    async def _settled_outside(self, call_id: CallId) -> Ended:
        """A call of which the ledger knows only that it was allowed: what the outside says became of it."""
        found = await self.gate.settle(self.principal, call_id)
        return await self._read(call_id) if found is None else _ended(found)

    async def _make(self, step: Step, call_id: CallId, arguments: Json) -> Ended:
        request = CallRequest(
            call_id=call_id,
            tool=step.tool,
            arguments=arguments,
            task_run_id=self.run.task_run_id,
            engagement_id=self.run.engagement_id,
            timeout=step.timeout,
        )
        outcome = await self.gate.call(request, self.principal)
        if outcome.error is None or outcome.error.code != "duplicate_call":
            return _ended(outcome)
        # Another worker was quicker: its call is this step's.
        return await self._read(call_id)

    async def _read(self, call_id: CallId) -> Ended:
        async with self._session() as session:
            made = await _recorded_in(session, call_id)
        return Ended(call_id=call_id, outcome=None) if made is None else made

    def _session(self) -> AbstractAsyncContextManager[Session]:
        return self.transactions.session(self.principal.organization_id, self.principal.principal_id)


async def settled(session: Session, run: TaskRun, step: TaskRunStep) -> TaskRunStep:
    """A step of a cancelled run as the record knows it, where it may have been under way at the cancellation.

    Several may settle a run. Whoever does it while the call is still uncommitted finds nothing and says so; whoever
    comes after the call's end says how it ended.
    """
    if step.status != "running" and not (step.status == "cancelled" and step.call_id is None):
        return step
    if step.items is not None:
        return replace(step, status="cancelled")
    last: Ended | None = None
    for attempt in range(MOST_CUT_OFF + MOST_RETRIES):
        made = await _recorded_in(session, call_id_of(run.task_run_id, step.name, attempt))
        if made is None:
            break
        last = made
    return replace(step, status="cancelled") if last is None else _settled(step, last)


def run_as_known(run: TaskRun, time_zone: str) -> Mapping[str, object]:
    """What a run says of itself to the references of its steps; its date is the one in that zone."""
    known: dict[str, object] = {
        "date": run.created_at.astimezone(ZoneInfo(time_zone)).date().isoformat(),
        "task_id": str(run.task_id),
        "task_run_id": str(run.task_run_id),
        "requested_by": run.requested_by,
    }
    return known if run.engagement_id is None else {**known, "engagement_id": str(run.engagement_id)}


async def _recorded_in(session: Session, call_id: CallId) -> Ended | None:
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
        approval_ids=() if item.approval_id is None else (item.approval_id,),
        at=item.time + timedelta(milliseconds=item.duration_ms or 0),
    )


def _ended(outcome: CallOutcome) -> Ended:
    unknown = outcome.error is not None and outcome.error.code == OUTCOME_UNKNOWN
    return Ended(
        call_id=outcome.call_id,
        outcome=None if unknown else outcome.outcome,
        result=outcome.result,
        error_code=None if outcome.error is None else outcome.error.code,
        reasons=() if outcome.verdict is None else outcome.verdict.reasons,
        approval_ids=() if outcome.approval is None else (outcome.approval.approval_id,),
    )
