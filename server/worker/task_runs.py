"""Runs a task's workflow; every step is a call of its own, or several, on behalf of whoever started the run."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import cast

import structlog

from domain.kernel import CallId, Clock, NewId, Principal, TaskRunId, new_id
from domain.tasks.model import OBJECTIVE, Progress, TakenUp, TaskRun
from domain.tasks.service import TaskRunNotFound
from server.database.identities import PostgresIdentities
from server.database.unit_of_work import PostgresTransactions, Session
from server.worker.again import Again
from server.worker.course import Course, together
from server.worker.listing import Listing, left_by
from server.worker.principals import acting_as, service_account_of
from server.worker.schedules import time_zone_of
from server.worker.steps import AT_ONCE_S, Ended, Pause, StepCalls, settled
from tools.gate import Gate
from tools.outcomes import CallRequest, Json
from tools.ports import Unavailable
from tools.work import Job
from tools.workflows import RUN_TIMEOUT, MissingValue, Repeat, Step, Workflows, look_up, step_arguments

log = structlog.get_logger()

SHORTLY = timedelta(seconds=1)
"""For what has changed just now, or will in a moment."""
CALLS_AT_ONCE = 4
"""Of one run."""
SHOW_EVERY_S = 0.1
"""How often a run's progress is written at most: a step is often faster than its line."""


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
        pause: Pause = asyncio.sleep,
        objective: Callable[[Principal, TaskRun], Awaitable[Again | None]] | None = None,
        new_id: NewId = new_id,
    ) -> None:
        """`objective`: does what is a task for the agent itself."""
        self._gate = gate
        self._transactions = transactions
        self._identities = identities
        self._workflows = workflows
        self._clock = clock
        self._pause = pause
        self._objective = objective
        self._new_id = new_id

    async def work(self, job: Job) -> Again | None:
        """Bring one task run as far as it goes; None: to its end, and nobody is asked for it any more."""
        hub = await service_account_of(self._identities, job.organization_id)
        again = await self._bring(hub, job)
        return await self._withdraw(hub, TaskRunId(job.subject_id)) if hub is not None and again is None else again

    async def _bring(self, hub: Principal | None, job: Job) -> Again | None:
        run = None if hub is None else await self._find(hub, TaskRunId(job.subject_id))
        if hub is None or run is None:
            log.warning("task_run.not_found", taskRunId=str(job.subject_id), orgId=str(job.organization_id))
            return Again()
        # The run acts on behalf of whoever started it, unattended.
        requester = await self._identities.member_of(job.organization_id, run.requester_id)
        if requester is None:
            return await self._give_up(hub, run, "Whoever started it is no longer a member.")
        principal, workflow = acting_as(requester), self._workflows.find(run.kind)
        if run.kind == OBJECTIVE and self._objective is not None:
            return await self._objective(principal, run)
        if workflow is None:
            return await self._give_up(hub, run, f"There is no workflow {run.kind} any more.")
        return await self._run(principal, Course(run, workflow, await self._time_zone(principal, run)))

    async def _run(self, principal: Principal, course: Course) -> Again | None:
        run = course.run
        taken = await self._take_up(principal, course)
        if taken.progress.finished_at is not None:
            return await self._over(principal, run, taken.progress)
        calls = StepCalls(
            gate=self._gate,
            transactions=self._transactions,
            clock=self._clock,
            principal=principal,
            run=run,
            pause=self._pause,
        )
        if not taken.anew:
            await calls.read_ledger()
        async with self._shown(principal, course):
            in_time = await self._drive(course, calls, taken.progress)
        if course.cancelled:
            return await self._cancelled(principal, run)
        if not in_time:
            worked = course.workflow.timeout.total_seconds()
            return await self._finish(principal, course, f"It had not come to its end after {worked:g} s of work.")
        return await self._settle(principal, course, calls)

    async def _take_up(self, principal: Principal, course: Course) -> TakenUp:
        async with self._session(principal) as session:
            return await session.progress.start(
                course.run.task_run_id, course.listed, self._clock(), course.workflow.timeout
            )

    # The steps ----------------------------------------------------------------------------------------------------

    async def _drive(self, course: Course, calls: StepCalls, progress: Progress) -> bool:
        """Make every step that can be made; False: the run's time was over before."""
        places = asyncio.Semaphore(CALLS_AT_ONCE)

        async def make(group: asyncio.TaskGroup, step: Step) -> None:
            await self._step(course, calls, step, places)
            begin_ready(group)

        def begin_ready(group: asyncio.TaskGroup) -> None:
            for step in course.take_ready():
                group.create_task(make(group, step), name=f"step.{step.name}")

        left = RUN_TIMEOUT if progress.deadline is None else progress.deadline - self._clock()
        limit = asyncio.timeout(left.total_seconds())
        try:
            async with limit, asyncio.TaskGroup() as group:
                begin_ready(group)
        except TimeoutError:
            if limit.expired():
                return False
            raise
        except ExceptionGroup as several:
            raise _first_of(several) from several
        return True

    async def _step(self, course: Course, calls: StepCalls, step: Step, places: asyncio.Semaphore) -> None:
        if course.passes_over(step):
            course.skip(step)
            return
        try:
            if step.for_each is not None:
                ended = await self._each(course, calls, step, places)
            elif step.pages is not None:
                ended = await self._pages(course, calls, step, places)
            elif step.repeat is not None:
                ended = await self._again_and_again(course, calls, step, step.repeat, places)
            else:
                course.begin(step)
                arguments = step_arguments(step, course.known)
                async with places:
                    ended = await calls.call(step, step.name, arguments)
        except MissingValue as missing:
            ended = Ended(call_id=None, outcome="invalid", error_code=str(missing), attempts=0)
        course.end(step, ended)

    async def _each(self, course: Course, calls: StepCalls, step: Step, places: asyncio.Semaphore) -> Ended:
        """A call for each item of a list.

        Raises  MissingValue: there is no such list, or an item lacks what the arguments name.
        """
        items = look_up(cast(str, step.for_each), course.known)
        if not isinstance(items, list):
            return Ended(call_id=None, outcome="invalid", error_code=f"{step.for_each} is no list", attempts=0)
        held = cast("list[object]", items)
        most = course.workflow.most_items(cast(str, step.for_each))
        if len(held) > most:
            return Ended(call_id=None, outcome="invalid", error_code=f"more than {most} items", attempts=0)
        each = [step_arguments(step, {**course.known, "item": item}) for item in held]
        course.begin(step, len(each))

        async def one(place: int, arguments: Json) -> Ended:
            async with places:
                ended = await calls.call(step, f"{step.name}/{place}", arguments)
            if ended.outcome == "done":
                course.item_done(step)
            return ended

        async with asyncio.TaskGroup() as group:
            made = [group.create_task(one(place, arguments)) for place, arguments in enumerate(each)]
        return together([task.result() for task in made])

    async def _pages(self, course: Course, calls: StepCalls, step: Step, places: asyncio.Semaphore) -> Ended:
        """A call for each page of a list, from where the run before this one left off.

        Raises  MissingValue.
        """
        arguments = step_arguments(step, course.known)
        course.begin(step)
        listing = Listing(most=cast(int, step.pages), cursor=await self._left_off(calls, step))
        while True:
            asked = arguments if listing.cursor is None else {**arguments, "cursor": listing.cursor}
            name = f"{step.name}/{listing.pages}" if listing.pages else step.name
            async with places:
                ended = await calls.call(step, name, asked)
            if ended.outcome != "done":
                return ended
            if not listing.add(ended.result or {}):
                course.listed_to(step, listing)
                return replace(ended, result=listing.result)

    async def _again_and_again(
        self, course: Course, calls: StepCalls, step: Step, repeat: Repeat, places: asyncio.Semaphore
    ) -> Ended:
        """The call, and again while its result says so; where a longer rest comes first the run rests.

        Raises  MissingValue.
        """
        arguments = step_arguments(step, course.known)
        course.begin(step)
        for time in range(repeat.most):
            name = f"{step.name}/{time}" if time else step.name
            async with places:
                ended = await calls.call(step, name, arguments)
            result = ended.result or {}
            if ended.outcome != "done" or not result.get(repeat.while_):
                return ended
            course.made_again(step, time + 1)
            rest = timedelta(seconds=cast(float, result.get(repeat.rest_s or "", 0)))
            again_at = (ended.at or self._clock()) + rest
            if (left_s := (again_at - self._clock()).total_seconds()) > AT_ONCE_S:
                return replace(ended, outcome=None, result=None, again_at=again_at)
            await self._pause(max(left_s, 0))
        return Ended(call_id=None, outcome="failed", error_code="too_many_calls")

    async def _left_off(self, calls: StepCalls, step: Step) -> str | None:
        """Where the step's list begins in this run; None: at the newest."""
        async with self._session(calls.principal) as session:
            return left_by(await session.progress.before(calls.run)).get(step.name)

    # Where no step can be made any more ---------------------------------------------------------------------------

    async def _settle(self, principal: Principal, course: Course, calls: StepCalls) -> Again | None:
        """Say how the run ended, or rest until something can be done again."""
        expiries, now = list[timedelta](), self._clock()
        for name, approval_id in course.waits_for:
            approval = await calls.approval(approval_id, now)
            if approval.state == "expired":
                course.lapse(name)
            else:
                expiries.append(approval.expires_at - now if approval.state == "pending" else SHORTLY)
        if course.again_at is not None:
            # Whatever else waits for a person, this one does not.
            return await self._rest(principal, course, min([course.again_at - now, *expiries]))
        if expiries and course.waits_for:
            # What is being found out brings a job too; should that be lost, it is looked after ever more seldom.
            return await self._rest(principal, course, None if course.unsettled else min(expiries), waiting=True)
        if course.unsettled:
            return Again()
        if course.done:
            return await self._finish(principal, course)
        return await self._finish(principal, course, f"{course.why_failed()}.")

    async def _rest(
        self, principal: Principal, course: Course, after: timedelta | None, *, waiting: bool = False
    ) -> Again | None:
        """Until an approval expires or a call is to be made again; a decision comes with a job of its own.

        `after`: how long; None: as long as its number of attempts says.
        """
        async with self._session(principal) as session:
            goes_on = await session.progress.advance(
                course.run.task_run_id,
                course.listed,
                course.told,
                self._clock(),
                status="waiting" if waiting else "running",
            )
        if not goes_on:
            return await self._cancelled(principal, course.run)
        return Again() if after is None else Again(after=max(after, SHORTLY))

    async def _finish(self, principal: Principal, course: Course, failure: str | None = None) -> Again | None:
        async with self._session(principal) as session:
            ended = await session.progress.finish(
                course.run.task_run_id,
                "completed" if failure is None else "failed",
                course.listed,
                course.with_rest(failure or f"{course.workflow.title}: done."),
                self._clock(),
                failure=failure,
            )
        return None if ended else await self._cancelled(principal, course.run)

    async def _over(self, principal: Principal, run: TaskRun, progress: Progress) -> Again | None:
        """Nothing is left to do."""
        return await self._cancelled(principal, run) if progress.status == "cancelled" else None

    async def _cancelled(self, principal: Principal, run: TaskRun) -> Again | None:
        """Say of a cancelled run what the record knows of a step that was under way."""
        async with self._session(principal) as session:
            found = await session.work.tasks.hold_run(run.task_run_id)
            if found.progress.status == "cancelled":
                steps = [await settled(session, run, step) for step in found.progress.steps]
                await session.work.tasks.settle(run, steps)
        return None

    async def _give_up(self, hub: Principal, run: TaskRun, why: str) -> None:
        """End a run of which no step can be made."""
        async with self._session(hub) as session:
            await session.progress.start(run.task_run_id, [], self._clock(), RUN_TIMEOUT)
            await session.progress.finish(run.task_run_id, "failed", [], why, self._clock(), failure=why)

    async def _withdraw(self, hub: Principal, task_run_id: TaskRunId) -> Again | None:
        """Cancel what the steps of a run asked that has failed, however it did; its job lasts until that is done."""
        async with self._transactions.session(hub.organization_id, hub.principal_id) as session:
            if not await session.work.approvals.asked_in_vain(task_run_id):
                return None
        call_id = CallId(self._new_id())
        request = CallRequest(call_id=call_id, tool="approval_cancel", arguments={"run_id": str(task_run_id)})
        outcome = await self._gate.call(request, hub)
        return None if outcome.outcome == "done" else Again()

    # What is shown meanwhile --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _shown(self, principal: Principal, course: Course) -> AsyncGenerator[None]:
        """What the run has come to is written for the length of the block, now and then.

        It is for people: what counts is in the ledger, so that nothing waits for it, and a fault of it stops nothing.
        """
        ends = asyncio.Event()
        showing = asyncio.create_task(self._show(principal, course, ends), name="task_run.shown")
        try:
            yield
        finally:
            ends.set()
            await asyncio.shield(showing)

    async def _show(self, principal: Principal, course: Course, ends: asyncio.Event) -> None:
        shown = course.changes
        while not await _set_within(ends, SHOW_EVERY_S):
            if course.changes == shown:
                continue
            shown = course.changes
            try:
                async with self._session(principal) as session:
                    now = self._clock()
                    await session.progress.advance(course.run.task_run_id, course.listed, course.told, now)
            except Unavailable:
                log.info("task_run.not_shown", taskRunId=str(course.run.task_run_id))

    async def _time_zone(self, principal: Principal, run: TaskRun) -> str:
        """The schedule's that started the run."""
        async with self._transactions.session(principal.organization_id, principal.principal_id) as session:
            return time_zone_of(await session.work.activity.request_of(run.call_id))

    async def _find(self, hub: Principal, task_run_id: TaskRunId) -> TaskRun | None:
        """The run, read as the organization's service account: whose it is, only the run itself says."""
        async with self._transactions.session(hub.organization_id, hub.principal_id) as session:
            try:
                return await session.work.tasks.get_run(task_run_id)
            except TaskRunNotFound:
                return None

    def _session(self, principal: Principal) -> AbstractAsyncContextManager[Session]:
        return self._transactions.session(principal.organization_id, principal.principal_id, read_only=False)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _first_of(several: ExceptionGroup[Exception]) -> Exception:
    """The fault to tell of those that several steps met: one of the program's own before a lost database."""
    faults = _leaves(several)
    return next((fault for fault in faults if not isinstance(fault, Unavailable)), faults[0])


def _leaves(fault: Exception) -> list[Exception]:
    if not isinstance(fault, ExceptionGroup):
        return [fault]
    several = cast("ExceptionGroup[Exception]", fault)
    return [leaf for each in several.exceptions for leaf in _leaves(each)]
