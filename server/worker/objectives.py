"""Does a task that is an objective for the agent: its run is a run of the agent's, which nobody waits for.

The agent's run is carried, taken over and put down for approvals like any other (agent/runs.py); here it is begun once,
by an id that follows from the task run, and what it comes to is shown on the task run. The task run's time bounds it.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import cast
from uuid import UUID, uuid5

import orjson

from agent.conversations.model import GOING
from agent.conversations.refusals import RunNotFound
from agent.conversations.runs import Run
from agent.frames import Fold, RunSummary
from agent.run_opening import NewMessage
from agent.runs import Runs, TooManyRuns
from domain.kernel import CallId, Clock, ConversationId, DomainError, Outcome, Principal, RunId, TaskRunId
from domain.tasks.model import StepStatus, Task, TaskRun, TaskRunAnswer, TaskRunStep
from server.database.unit_of_work import PostgresTransactions, Session
from server.worker.again import Again
from tools.outcomes import Json
from tools.workflows import RUN_TIMEOUT

MOST_ATTEMPTS = 3
"""Runs of the agent's that one task run may take, where one broke off by no fault of the objective's."""
MOST_AT_ONCE = 8
"""Objectives that one worker follows; other jobs need its places too."""
SHORTLY = timedelta(seconds=2)
LOOK_AGAIN = timedelta(seconds=10)
"""While the agent waits for a person."""
TEXT_LIMIT, MOST_CITATIONS = 50_000, 100
ANSWER = TaskRunStep(name="answer", tool="")
"""What is left to do after every call."""
BROKE_OFF = "The run before this one broke off. Go on from what was done, and do nothing twice."


@dataclass(slots=True)
class Told:
    """What the agent's run has told so far."""

    fold: Fold = field(default_factory=Fold)
    ended: bool = False

    def summary(self, run_id: RunId) -> RunSummary:
        """The run in one value."""
        return self.fold.summary(run_id)


@dataclass(slots=True)
class Going:
    """How far the agent has come: the run of its latest attempt, and what that has told."""

    answer: TaskRunAnswer | None
    told: Told = field(default_factory=Told)

    @property
    def summary(self) -> RunSummary | None:
        """None: it has not begun."""
        return None if self.answer is None else self.told.summary(self.answer.run_id)

    @property
    def steps(self) -> list[TaskRunStep]:
        return [] if self.summary is None else steps_of(self.summary)


class ObjectiveWorker:
    """Takes one task run whose kind is `objective` as far as it goes."""

    def __init__(self, *, runs: Runs, transactions: PostgresTransactions, clock: Clock) -> None:
        self._runs = runs
        self._transactions = transactions
        self._clock = clock
        self._going = 0

    async def work(self, principal: Principal, run: TaskRun) -> Again | None:
        """Begin the agent's run or find it again, and follow it to its end or to a wait; None: to its end."""
        if self._going >= MOST_AT_ONCE:
            return Again(after=SHORTLY)
        self._going += 1
        try:
            return await self._work(principal, run)
        finally:
            self._going -= 1

    async def _work(self, principal: Principal, run: TaskRun) -> Again | None:
        if await self._waits_still(principal, run):
            return Again(after=LOOK_AGAIN)
        async with self._session(principal) as session:
            taken = await session.progress.start(run.task_run_id, [ANSWER], self._clock(), RUN_TIMEOUT)
        if taken.progress.finished_at is not None:
            await self._stop(principal, run)
            return None
        going, deadline = Going(run.answer), taken.progress.deadline
        limit = asyncio.timeout((RUN_TIMEOUT if deadline is None else deadline - self._clock()).total_seconds())
        try:
            async with limit:
                answer = await self._attempt(principal, run, going)
        except TooManyRuns:
            return Again(after=SHORTLY)
        except DomainError as refused:
            await self._give_up(principal, run, going, str(refused))
            return None
        except TimeoutError:
            if not limit.expired():
                raise
            worked = RUN_TIMEOUT.total_seconds()
            await self._give_up(principal, run, going, f"It had not come to its end after {worked:g} s of work.")
            return None
        return await self._settle(principal, run, answer, going.told)

    async def _attempt(self, principal: Principal, run: TaskRun, going: Going) -> TaskRunAnswer:
        """Follow the agent's run, and begin another where one broke off; gives the last one."""
        answer = going.answer = going.answer or await self._begin(principal, run, 0)
        await self._follow(principal, run, answer, going)
        while _broke_off(going.told.summary(answer.run_id)) and answer.attempt + 1 < MOST_ATTEMPTS:
            answer = going.answer = await self._begin(principal, run, answer.attempt + 1, answer.conversation_id)
            await self._follow(principal, run, answer, going)
        return answer

    async def _waits_still(self, principal: Principal, run: TaskRun) -> bool:
        """Whether nothing has changed for a run that was put to rest: then nobody who follows it is told anything."""
        if run.progress.status != "waiting" or run.answer is None:
            return False
        return (await self._runs.summary(principal, run.answer.run_id)).status == "waiting"

    async def _begin(
        self, principal: Principal, run: TaskRun, attempt: int, conversation_id: ConversationId | None = None
    ) -> TaskRunAnswer:
        """The agent's run of an attempt: begun now, or by whoever was here before."""
        begun = await self._find(principal, run_id_of(run.task_run_id, attempt))
        if begun is not None:
            conversation_id, run_id = begun.conversation_id, begun.run_id
        else:
            conversation_id, run_id = await self._start(principal, run, attempt, conversation_id)
        answer = TaskRunAnswer(conversation_id=conversation_id, run_id=run_id, attempt=attempt)
        if await self._keep(principal, run, answer):
            # Whoever ended the task run meanwhile may have looked for the agent's before there was one.
            await self._stop(principal, run)
        return answer

    async def _start(
        self, principal: Principal, run: TaskRun, attempt: int, conversation_id: ConversationId | None
    ) -> tuple[ConversationId, RunId]:
        async with self._session(principal) as session:
            task = await session.work.tasks.get(run.task_id)
        words = objective_of(task, run)
        asked = NewMessage(
            message=words if attempt == 0 else f"{BROKE_OFF}\n\n{words}",
            conversation_id=conversation_id,
            agent=_agent_of(run) if attempt == 0 else None,
            engagement_id=run.engagement_id,
            client_message_id=f"task_run/{run.task_run_id}/{attempt}",
            run_id=run_id_of(run.task_run_id, attempt),
            taint=run.taint,
            task_run_id=run.task_run_id,
        )
        begun = await self._runs.start(principal, asked)
        return begun.conversation_id, begun.run_id

    async def _find(self, principal: Principal, run_id: RunId) -> Run | None:
        try:
            return await self._runs.find(principal, run_id)
        except RunNotFound:
            return None

    async def _follow(self, principal: Principal, run: TaskRun, answer: TaskRunAnswer, going: Going) -> None:
        """Hear the agent's run to its end or to where it waits; its calls are shown as steps meanwhile."""
        told = going.told = Told()
        async with aclosing(self._runs.pages(principal, answer.run_id)) as pages:
            async for page in pages:
                for frame in page:
                    told.fold.add(frame)
                told.ended = page[-1].terminal
                if any(frame.type.startswith("tool.") for frame in page):
                    await self._show(principal, run, answer, told)

    async def _show(self, principal: Principal, run: TaskRun, answer: TaskRunAnswer, told: Told) -> None:
        steps = steps_of(told.summary(answer.run_id))
        message = f"{steps[-1].tool} …" if steps else "The agent is at it."
        async with self._session(principal) as session:
            shown = [*steps, replace(ANSWER, status="running")]
            goes_on = await session.progress.advance(run.task_run_id, shown, message, self._clock())
        if not goes_on:
            await self._runs.cancel(principal, answer.run_id)

    async def _settle(self, principal: Principal, run: TaskRun, answer: TaskRunAnswer, told: Told) -> Again | None:
        summary = told.summary(answer.run_id)
        steps = steps_of(summary)
        if not told.ended:
            return await self._wait(principal, run, steps)
        if summary.error is not None:
            await self._end(principal, run, steps, failure=str(summary.error.get("message")))
        elif summary.status == "cancelled":
            await self._end(principal, run, steps, failure="The agent's run was cancelled.")
        else:
            await self._keep(principal, run, _answered(answer, summary))
            await self._end(principal, run, [*steps, replace(ANSWER, status="done")])
        return None

    async def _wait(self, principal: Principal, run: TaskRun, steps: list[TaskRunStep]) -> Again | None:
        async with self._session(principal) as session:
            waits = "The agent waits for a person's approval."
            await session.progress.advance(run.task_run_id, [*steps, ANSWER], waits, self._clock(), status="waiting")
        return Again(after=LOOK_AGAIN)

    async def _end(
        self, principal: Principal, run: TaskRun, steps: list[TaskRunStep], *, failure: str | None = None
    ) -> None:
        async with self._session(principal) as session:
            await session.progress.finish(
                run.task_run_id,
                "completed" if failure is None else "failed",
                steps,
                "The agent has answered." if failure is None else failure,
                self._clock(),
                failure=failure,
            )

    async def _give_up(self, principal: Principal, run: TaskRun, going: Going, why: str) -> None:
        """End a task run whose agent comes to no end of its own; stop that first, so that no crash leaves it going."""
        await self._stop(principal, run)
        await self._end(principal, run, going.steps, failure=why)

    async def _stop(self, principal: Principal, run: TaskRun) -> None:
        """Of a task run that is over the agent's run is cancelled too, also where nobody wrote down that it began."""
        known = [] if run.answer is None else [run.answer.run_id]
        for run_id in dict.fromkeys([*known, *(run_id_of(run.task_run_id, each) for each in range(MOST_ATTEMPTS))]):
            begun = await self._find(principal, run_id)
            if begun is not None and begun.status in GOING:
                await self._runs.cancel(principal, run_id)

    async def _keep(self, principal: Principal, run: TaskRun, answer: TaskRunAnswer) -> bool:
        """Write down where the answer is to be found; whether the task run is over meanwhile."""
        async with self._session(principal) as session:
            await session.progress.answer(run.task_run_id, answer)
            return (await session.work.tasks.get_run(run.task_run_id)).progress.finished_at is not None

    def _session(self, principal: Principal) -> AbstractAsyncContextManager[Session]:
        return self._transactions.session(principal.organization_id, principal.principal_id, read_only=False)


def run_id_of(task_run_id: TaskRunId, attempt: int) -> RunId:
    """The id of the agent's run of an attempt: the same in every process, so that whoever comes after finds it."""
    return RunId(uuid5(task_run_id, f"agent#{attempt}"))


def objective_of(task: Task, run: TaskRun) -> str:
    """What the agent is told: the task's words, and what of its input is not about the agent itself."""
    given = {name: value for name, value in _input_of(run).items() if name != "agent"}
    parts = [task.title, task.description, f"Given: {orjson.dumps(given).decode()}" if given else ""]
    return "\n\n".join(part for part in parts if part)


def steps_of(summary: RunSummary) -> list[TaskRunStep]:
    """The agent's calls as the steps of its task run."""
    return [_step_of(call) for call in summary.tool_calls]


def _step_of(call: Json) -> TaskRunStep:
    outcome = cast("Outcome | None", call.get("outcome"))
    return TaskRunStep(
        name=str(call.get("tool", "")),
        tool=str(call.get("tool", "")),
        status=_status_of(outcome),
        call_id=CallId(UUID(str(call["call_id"]))),
        outcome=outcome,
    )


def _status_of(outcome: Outcome | None) -> StepStatus:
    match outcome:
        case None:
            return "running"
        case "done" | "waiting":
            return outcome
        case _:
            return "failed"


def _broke_off(summary: RunSummary) -> bool:
    """It ended by no fault of the objective's, and may go well another time."""
    return summary.error is not None and summary.error.get("retryable") is True


def _answered(answer: TaskRunAnswer, summary: RunSummary) -> TaskRunAnswer:
    citations = orjson.dumps(summary.citations[:MOST_CITATIONS]).decode()
    return replace(answer, text=summary.text[:TEXT_LIMIT], citations=citations)


def _agent_of(run: TaskRun) -> str | None:
    agent = _input_of(run).get("agent")
    return None if agent is None else str(agent)


def _input_of(run: TaskRun) -> Json:
    return cast(Json, orjson.loads(run.input))
