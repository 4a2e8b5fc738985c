"""Tasks and their runs on the real database: what is found, what is refused, and what nobody else sees."""

from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from domain.kernel import CallId, EngagementId, PrincipalId, Role, TaskId, TaskRunId
from domain.paging import PageRequest, position_of
from domain.tasks.model import QUEUED, CreateTask, Progress, Task, TaskQuery, TaskRun, TaskRunStep
from domain.tasks.postgres.progress import PostgresTaskRunProgress
from domain.tasks.postgres.tasks import PostgresTasks
from domain.tasks.service import (
    AssigneeNotFound,
    AssigneeNotOnEngagement,
    EngagementNotFound,
    InputTooLarge,
    NotRunnable,
    TaskNotFound,
    TaskRunNotFound,
    TaskService,
    UnknownWorkflow,
)
from server.database.connection import Connection
from tests.support.calls import NOW, acting, add_member, later
from tests.support.firms import FIRM_A, FIRM_B, seed_firms

KINDS = frozenset({"refresh_analytics", "remind_pbc"})
HOUR = timedelta(hours=1)
THING = TaskId(FIRM_A.id("thing"))


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    await seed_firms(owner_connection)
    return app_connection


def service(app: Connection) -> TaskService:
    return TaskService(PostgresTasks(app), KINDS)


async def created(app: Connection, asked: CreateTask, who: str = "employee") -> Task:
    async with acting(app, who, "tasks"):
        return await service(app).create(
            asked, task_id=TaskId(uuid4()), created_by=PrincipalId(FIRM_A.id(who)), now=NOW, trust="internal"
        )


async def got(app: Connection, task_id: TaskId, who: str = "employee") -> Task:
    async with acting(app, who):
        return await service(app).get(task_id)


async def started(app: Connection, task_id: TaskId, given: str = "{}", who: str = "employee") -> TaskRun:
    async with acting(app, who, "task_runs"):
        return await service(app).run(
            task_id,
            given,
            task_run_id=TaskRunId(uuid4()),
            call_id=CallId(uuid4()),
            requested_by=PrincipalId(FIRM_A.id(who)),
            now=NOW,
            trust="internal",
        )


async def test_a_task_is_created_as_it_was_asked_for(app: Connection) -> None:
    asked = CreateTask(
        title="Renew the letter",
        description="Before the fieldwork.",
        kind="remind_pbc",
        engagement_id=EngagementId(FIRM_A.id("engagement")),
        assignee="EMPLOYEE@firm-1.example",
        due_on=date(2026, 12, 1),
        input='{"days":3}',
    )
    task = await created(app, asked)
    assert (task.title, task.description, task.kind, task.due_on) == (
        asked.title,
        asked.description,
        asked.kind,
        asked.due_on,
    )
    assert (task.assignee, task.created_by) == ("employee@firm-1.example", "employee@firm-1.example")
    assert (task.status, task.audience, task.engagement_id) == ("open", "firm", asked.engagement_id)
    assert (task.input, task.created_at, task.latest_run) == ('{"days":3}', NOW, None)


async def test_a_task_for_people_needs_no_more_than_a_title(app: Connection) -> None:
    task = await created(app, CreateTask(title="Call the bank"))
    assert (task.kind, task.assignee, task.due_on, task.engagement_id, task.input) == (None, None, None, None, "{}")


async def test_an_unknown_kind_is_refused_with_the_kinds_that_there_are(app: Connection) -> None:
    with pytest.raises(UnknownWorkflow, match="refresh_analytics, remind_pbc"):
        await created(app, CreateTask(title="T", kind="close_cycle"))


@pytest.mark.parametrize("engagement", [uuid4(), FIRM_B.id("engagement")])
async def test_an_engagement_that_is_none_or_anothers_is_refused_alike(app: Connection, engagement: UUID) -> None:
    with pytest.raises(EngagementNotFound, match=str(engagement)):
        await created(app, CreateTask(title="T", engagement_id=EngagementId(engagement)))


@pytest.mark.parametrize("email", ["nobody@firm-1.example", "employee@firm-2.example"])
async def test_an_assignee_who_is_nobody_or_anothers_is_refused_alike(app: Connection, email: str) -> None:
    with pytest.raises(AssigneeNotFound, match=email):
        await created(app, CreateTask(title="T", assignee=email))


async def test_a_task_for_a_client_is_one_that_the_client_sees(app: Connection) -> None:
    asked = CreateTask(
        title="Send the bank letters",
        engagement_id=EngagementId(FIRM_A.id("engagement")),
        assignee="client@firm-1.example",
    )
    task = await created(app, asked)
    assert task.audience == "client"
    assert (await got(app, task.task_id, who="client")).title == asked.title


@pytest.mark.parametrize("engagement", [None, "other_engagement"])
async def test_a_client_is_given_no_task_outside_its_engagements(app: Connection, engagement: str | None) -> None:
    other = None if engagement is None else EngagementId(FIRM_A.id(engagement))
    with pytest.raises(AssigneeNotOnEngagement):
        await created(app, CreateTask(title="T", engagement_id=other, assignee="client@firm-1.example"))


async def test_input_beyond_any_workflows_need_is_refused(app: Connection) -> None:
    with pytest.raises(InputTooLarge):
        await created(app, CreateTask(title="T", input='{"x":"' + "y" * 40_000 + '"}'))


async def test_without_a_ticket_no_task_is_written(app: Connection) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with acting(app, "employee"):
            await service(app).create(
                CreateTask(title="T"),
                task_id=TaskId(uuid4()),
                created_by=PrincipalId(FIRM_A.id("employee")),
                now=NOW,
                trust="internal",
            )
    assert refused.value.sqlstate == "GL001"


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        (TaskQuery(status="done"), []),
        (TaskQuery(status="open"), ["C", "B", "A"]),
        (TaskQuery(engagement_id=EngagementId(FIRM_A.id("other_engagement"))), ["B"]),
        (TaskQuery(assignee="partner@firm-1.example"), ["C"]),
        (TaskQuery(assignee="nobody@firm-1.example"), []),
    ],
)
async def test_each_filter_leaves_the_tasks_it_names(app: Connection, query: TaskQuery, titles: list[str]) -> None:
    for minute, changes in enumerate(
        (
            CreateTask(title="A"),
            CreateTask(title="B", engagement_id=EngagementId(FIRM_A.id("other_engagement"))),
            CreateTask(title="C", assignee="partner@firm-1.example"),
        )
    ):
        async with acting(app, "partner", "tasks"):
            await service(app).create(
                changes,
                task_id=TaskId(uuid4()),
                created_by=PrincipalId(FIRM_A.id("partner")),
                now=later(60 * minute),
                trust="internal",
            )
    async with acting(app, "partner"):
        found = await service(app).list(query)
    assert [task.title for task in found.items if task.created_at <= later(3600)] == titles


async def test_pages_of_tasks_meet(app: Connection) -> None:
    wanted = {(await created(app, CreateTask(title=str(n)))).task_id for n in range(5)}
    seen: list[TaskId] = []
    page = PageRequest(limit=3)
    while True:
        async with acting(app, "employee"):
            found = await service(app).list(TaskQuery(page=page))
        seen += [task.task_id for task in found.items]
        if found.next_cursor is None:
            break
        page = replace(page, after=position_of(found.next_cursor))
    assert len(seen) == len(set(seen)) == 7
    assert wanted < set(seen)


@pytest.mark.parametrize(("who", "seen"), [("employee", True), ("service", True), ("client", False)])
async def test_a_client_sees_none_of_the_firms_own_tasks(app: Connection, who: str, seen: bool) -> None:
    if seen:
        assert (await got(app, THING, who)).title == "Task"
    else:
        with pytest.raises(TaskNotFound):
            await got(app, THING, who)


async def test_another_organizations_task_is_none_at_all(app: Connection) -> None:
    with pytest.raises(TaskNotFound):
        await got(app, TaskId(FIRM_B.id("thing")))
    with pytest.raises(TaskRunNotFound):
        async with acting(app, "employee"):
            await service(app).get_run(TaskRunId(FIRM_B.id("thing")))


async def test_a_run_is_queued_with_the_tasks_input_and_what_the_call_gave_over_it(app: Connection) -> None:
    task = await created(app, CreateTask(title="T", kind="refresh_analytics", input='{"a":1,"b":2}'))
    run = await started(app, task.task_id, '{"b":3}')
    assert (run.kind, run.input, run.progress) == ("refresh_analytics", '{"a":1,"b":3}', QUEUED)
    assert (run.requester_id, run.requested_by) == (FIRM_A.id("employee"), "employee@firm-1.example")
    latest = (await got(app, task.task_id)).latest_run
    assert latest is not None
    assert (latest.task_run_id, latest.status) == (run.task_run_id, "queued")


async def test_a_task_for_people_cannot_be_run_and_the_answer_names_the_kinds(app: Connection) -> None:
    with pytest.raises(NotRunnable, match=r"for people.*refresh_analytics, remind_pbc"):
        await started(app, THING)


async def test_a_task_whose_workflow_is_gone_cannot_be_run(app: Connection, owner_connection: Connection) -> None:
    await owner_connection.execute("UPDATE tasks SET kind = 'old_one' WHERE task_id = $1", THING)
    with pytest.raises(NotRunnable, match="old_one"):
        await started(app, THING)


async def test_a_cancelled_task_cannot_be_run(app: Connection, owner_connection: Connection) -> None:
    await owner_connection.execute(
        "UPDATE tasks SET kind = 'remind_pbc', status = 'cancelled' WHERE task_id = $1", THING
    )
    with pytest.raises(NotRunnable, match="cancelled"):
        await started(app, THING)


async def test_an_input_that_grows_too_large_at_the_start_is_refused(app: Connection) -> None:
    task = await created(app, CreateTask(title="T", kind="refresh_analytics"))
    with pytest.raises(InputTooLarge):
        await started(app, task.task_id, '{"x":"' + "y" * 40_000 + '"}')


STEPS = (TaskRunStep(name="one", tool="analytics_report"), TaskRunStep(name="two", tool="task_create"))


async def stepped(app: Connection, run: TaskRun) -> Progress:
    """The first step done, the second under way."""
    call = CallId(uuid4())
    async with acting(app, "employee"):
        progress = PostgresTaskRunProgress(app)
        await progress.start(run.task_run_id, STEPS, NOW, HOUR)
        done = replace(STEPS[0], status="done", call_id=call, outcome="done")
        await progress.advance(run.task_run_id, (done, replace(STEPS[1], status="running")), "two …", later(1))
        return (await service(app).get_run(run.task_run_id)).progress


async def test_progress_says_which_steps_are_done(app: Connection) -> None:
    task = await created(app, CreateTask(title="T", kind="refresh_analytics"))
    progress = await stepped(app, await started(app, task.task_id))
    assert (progress.status, progress.progress, progress.message) == ("running", 0.5, "two …")
    assert [(step.status, step.outcome) for step in progress.steps] == [("done", "done"), ("running", None)]
    assert (progress.started_at, progress.updated_at, progress.finished_at) == (NOW, later(1), None)


async def test_a_run_taken_over_keeps_the_steps_that_are_done(app: Connection) -> None:
    task = await created(app, CreateTask(title="T", kind="refresh_analytics"))
    run = await started(app, task.task_id)
    before = await stepped(app, run)
    async with acting(app, "employee"):
        taken = await PostgresTaskRunProgress(app).start(run.task_run_id, STEPS, later(60), HOUR)
    assert (taken.progress.steps, taken.progress.started_at, taken.progress.status) == (before.steps, NOW, "running")


async def test_a_waiting_run_goes_on_when_it_is_taken_up_again(app: Connection) -> None:
    task = await created(app, CreateTask(title="T", kind="refresh_analytics"))
    run = await started(app, task.task_id)
    async with acting(app, "employee"):
        progress = PostgresTaskRunProgress(app)
        await progress.start(run.task_run_id, STEPS, NOW, HOUR)
        await progress.advance(run.task_run_id, STEPS, "waits", NOW, status="waiting")
        assert (await service(app).get_run(run.task_run_id)).progress.status == "waiting"
        assert (await progress.start(run.task_run_id, STEPS, NOW, HOUR)).progress.status == "running"


async def test_a_run_that_has_ended_stays_as_it_ended(app: Connection) -> None:
    task = await created(app, CreateTask(title="T", kind="refresh_analytics"))
    run = await started(app, task.task_id)
    async with acting(app, "employee"):
        progress = PostgresTaskRunProgress(app)
        await progress.start(run.task_run_id, STEPS, NOW, HOUR)
        await progress.finish(run.task_run_id, "failed", STEPS, "two did not succeed", later(2), failure="denied")
        await progress.advance(run.task_run_id, STEPS, "again", later(3))
        await progress.finish(run.task_run_id, "completed", STEPS, "done", later(4))
        again = await progress.start(run.task_run_id, STEPS, later(5), HOUR)
        found = (await service(app).get_run(run.task_run_id)).progress
    assert (found.status, found.message, found.failure, found.finished_at) == (
        "failed",
        "two did not succeed",
        "denied",
        later(2),
    )
    assert (again.anew, again.progress.finished_at) == (False, later(2))


async def test_a_completed_run_has_done_all_of_it(app: Connection) -> None:
    task = await created(app, CreateTask(title="T", kind="refresh_analytics"))
    run = await started(app, task.task_id)
    async with acting(app, "employee"):
        await PostgresTaskRunProgress(app).start(run.task_run_id, STEPS, NOW, HOUR)
        await PostgresTaskRunProgress(app).finish(run.task_run_id, "completed", STEPS, "done", later(1))
        assert (await service(app).get_run(run.task_run_id)).progress.progress == 1.0


async def test_the_reviewer_reads_tasks_as_the_firm_does(app: Connection, owner_connection: Connection) -> None:
    await add_member(owner_connection, Role.EQR)
    assert (await got(app, THING, who="EQR")).title == "Task"
