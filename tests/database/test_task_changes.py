"""Tasks changed and runs cancelled, through the gate: no change is lost, and a cancelled run makes no further step."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import cast
from uuid import UUID

import asyncpg
import orjson
import pytest

from domain.kernel import PrincipalId, Role
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.worker.task_runs import TaskRunWorker
from tests.database.test_worker import at_level, started, worker_on
from tests.support.calls import add_member
from tests.support.firms import FIRM_A, FIRM_B, seed_firms, stand_in
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import CallOutcome, Json
from tools.work import Job

HAND = principal_of(mode="person", door="rest")
CLIENT = principal_of(who="client", mode="person", door="rest")
CLIENT_TASK = str(FIRM_A.id("client_thing"))
KINDS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY recorded_at, kind"
NOBODYS = UUID("4a0c3f6e-0000-4000-8000-000000000000")


@dataclass(slots=True)
class Hold:
    """Stops the first call that comes to a stage where `when` holds, until it is let go; no other."""

    stage: str = ""
    when: Callable[[], Awaitable[bool]] | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, step: str) -> None:
        if step == self.stage and not self.reached.is_set() and (self.when is None or await self.when()):
            self.reached.set()
            async with asyncio.timeout(30):
                await self.release.wait()

    async def until_reached(self) -> None:
        async with asyncio.timeout(30):
            await self.reached.wait()


@pytest.fixture
def hold() -> Hold:
    return Hold()


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection, hold: Hold) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools, fault=hold) as opened:
        yield opened


@pytest.fixture
def worker(gate: GateOnTest, pools: DatabasePools) -> TaskRunWorker:
    return worker_on(gate, PostgresIdentities(pools.app))


async def made(gate: GateOnTest, **fields: object) -> Json:
    created = await gate.call("task_create", {"title": "Count the chairs", **fields}, HAND)
    return task_of(created)


def task_of(outcome: CallOutcome) -> Json:
    assert outcome.result is not None, outcome
    return cast(Json, outcome.result["task"])


def code_of(outcome: CallOutcome) -> tuple[str, str | None]:
    return outcome.outcome, None if outcome.error is None else outcome.error.code


async def changed(gate: GateOnTest, task: Json, **fields: object) -> CallOutcome:
    return await gate.call("task_update", {"task_id": task["task_id"], **fields}, HAND)


# Changes --------------------------------------------------------------------------------------------------------------


async def test_a_change_touches_what_is_given_and_nothing_else(gate: GateOnTest) -> None:
    task = await made(gate, description="All of them", due_on="2026-12-01")
    after = task_of(await changed(gate, task, status="done", title="Count the tables"))
    assert (after["status"], after["title"], after["version"]) == ("done", "Count the tables", 2)
    kept = ("description", "due_on", "created_by", "created_at", "audience")
    assert {name: after[name] for name in kept} == {name: task[name] for name in kept}
    assert str(after["updated_at"]) > str(task["updated_at"])


async def test_null_takes_the_day_and_the_assignee_away(gate: GateOnTest) -> None:
    task = await made(gate, due_on="2026-12-01", assignee="employee@firm-1.example")
    after = task_of(await changed(gate, task, due_on=None, assignee=None))
    assert "due_on" not in after
    assert "assignee" not in after


async def test_changes_of_different_fields_at_once_both_stand(gate: GateOnTest) -> None:
    task = await made(gate)
    fields = ({"title": "New words"}, {"status": "in_progress"}, {"due_on": "2026-12-24"}, {"description": "Why"})
    ended = await asyncio.gather(*(changed(gate, task, **each) for each in fields))
    assert [each.outcome for each in ended] == ["done"] * 4
    after = task_of(await gate.call("task_get", {"task_id": task["task_id"]}, HAND))
    assert (after["title"], after["status"], after["due_on"], after["description"], after["version"]) == (
        "New words",
        "in_progress",
        "2026-12-24",
        "Why",
        5,
    )


async def test_of_changes_that_rest_on_the_same_version_one_is_made_and_the_others_are_told(gate: GateOnTest) -> None:
    task = await made(gate)
    ended = await asyncio.gather(
        *(changed(gate, task, title=f"Title {n}", expected_version=task["version"]) for n in range(5))
    )
    assert sorted(code_of(each) for each in ended) == sorted(
        [("done", None)] + [("invalid", "version_conflict")] * 4, key=str
    )
    after = task_of(await gate.call("task_get", {"task_id": task["task_id"]}, HAND))
    winner = next(each for each in ended if each.outcome == "done")
    assert (after["title"], after["version"]) == (task_of(winner)["title"], 2)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "nothing_to_change"),
        ({"expected_version": 1}, "nothing_to_change"),
        ({"engagement_id": str(NOBODYS)}, "engagement_not_found"),
        ({"engagement_id": str(FIRM_B.id("engagement"))}, "engagement_not_found"),
        ({"status": "finished"}, "invalid_arguments"),
        ({"due_on": "tomorrow"}, "invalid_arguments"),
        ({"kind": "refresh_analytics"}, "invalid_arguments"),
        ({"title": ""}, "invalid_arguments"),
        ({"title": "x\x00y"}, "invalid_arguments"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(gate: GateOnTest, fields: Json, code: str) -> None:
    assert code_of(await changed(gate, await made(gate), **fields)) == ("invalid", code)


@pytest.mark.parametrize("task_id", [str(NOBODYS), str(FIRM_B.id("thing"))])
async def test_another_organizations_task_is_no_task(gate: GateOnTest, task_id: str) -> None:
    ended = await gate.call("task_update", {"task_id": task_id, "status": "done"}, HAND)
    assert code_of(ended) == ("invalid", "task_not_found")


async def test_giving_a_task_to_somebody_else_takes_a_manager(gate: GateOnTest) -> None:
    task = await made(gate)
    refused = await changed(gate, task, assignee="partner@firm-1.example")
    assert (refused.outcome, refused.verdict and refused.verdict.reasons) == (
        "denied",
        ("assigning_others_needs_manager",),
    )
    partner = principal_of(who="partner", mode="person", door="rest")
    arguments = {"task_id": task["task_id"], "assignee": "employee@firm-1.example"}
    assert task_of(await gate.call("task_update", arguments, partner))["assignee"] == "employee@firm-1.example"


# A client -------------------------------------------------------------------------------------------------------------


async def given_to_client(gate: GateOnTest) -> Json:
    partner = principal_of(who="partner", mode="person", door="rest")
    engagement = str(FIRM_A.id("engagement"))
    arguments = {"title": "Send the letter", "assignee": "client@firm-1.example", "engagement_id": engagement}
    return task_of(await gate.call("task_create", arguments, partner))


async def test_a_client_says_how_far_its_own_task_is_and_changes_no_other(gate: GateOnTest) -> None:
    task = await given_to_client(gate)
    done = await gate.call("task_update", {"task_id": task["task_id"], "status": "done"}, CLIENT)
    assert task_of(done)["status"] == "done"
    others = await gate.call("task_update", {"task_id": CLIENT_TASK, "status": "done"}, CLIENT)
    assert (others.outcome, others.verdict and others.verdict.reasons) == ("denied", ("client_changes_own_tasks_only",))
    unseen = await gate.call("task_update", {"task_id": str(FIRM_A.id("thing")), "status": "done"}, CLIENT)
    assert unseen.outcome == "denied"


@pytest.mark.parametrize("fields", [{"assignee": None}, {"engagement_id": None}])
async def test_a_client_does_not_say_who_does_a_task_or_where_it_belongs(gate: GateOnTest, fields: Json) -> None:
    task = await given_to_client(gate)
    ended = await gate.call("task_update", {"task_id": task["task_id"], **fields}, CLIENT)
    assert code_of(ended) == ("invalid", "for_the_firm")


async def test_what_one_client_sees_is_not_moved_before_another(gate: GateOnTest) -> None:
    task = await given_to_client(gate)
    other = str(FIRM_A.id("other_engagement"))
    assert code_of(await changed(gate, task, engagement_id=other)) == ("invalid", "client_task_stays")
    taken_back = task_of(await changed(gate, task, engagement_id=other, assignee="employee@firm-1.example"))
    assert (taken_back["audience"], taken_back["engagement_id"]) == ("firm", other)


async def test_a_task_moved_and_given_to_a_client_at_once_never_ends_before_the_wrong_client(gate: GateOnTest) -> None:
    partner = principal_of(who="partner", mode="person", door="rest")
    for _ in range(5):
        task = await made(gate, engagement_id=str(FIRM_A.id("engagement")))
        give = {"task_id": task["task_id"], "assignee": "client@firm-1.example"}
        move = {"task_id": task["task_id"], "engagement_id": str(FIRM_A.id("other_engagement"))}
        ended = await asyncio.gather(*(gate.call("task_update", each, partner) for each in (give, move)))
        assert sorted(each.outcome for each in ended) == ["done", "invalid"]
        after = task_of(await gate.call("task_get", {"task_id": task["task_id"]}, HAND))
        moved = after["engagement_id"] == str(FIRM_A.id("other_engagement"))
        assert after["audience"] == ("firm" if moved else "client")


# The list -------------------------------------------------------------------------------------------------------------


async def test_a_list_takes_each_of_its_filters(gate: GateOnTest) -> None:
    due = await made(gate, title="Due", due_on="2026-12-24")
    await made(gate, title="Not due")
    refresh = await made(gate, title="Refresh", kind="refresh_analytics")

    async def titles(**filters: object) -> list[object]:
        listed = await gate.call("task_list", filters, HAND)
        assert listed.result is not None, listed
        return [item["title"] for item in cast("list[Json]", listed.result["items"])]

    assert await titles(due_from="2026-12-24", due_to="2026-12-24") == [due["title"]]
    assert await titles(due_from="2026-12-25") == []
    assert await titles(kind="refresh_analytics") == [refresh["title"]]
    assert await titles(created_by="partner@firm-1.example") == []
    assert len(await titles(created_by="EMPLOYEE@firm-1.example")) == 5


# Runs cancelled -------------------------------------------------------------------------------------------------------


async def cancelled(gate: GateOnTest, job: Job, **fields: object) -> CallOutcome:
    return await gate.call("task_run_cancel", {"task_run_id": str(job.subject_id), **fields}, HAND)


async def run_of(gate: GateOnTest, job: Job) -> Json:
    shown = await gate.call("task_run_get", {"task_run_id": str(job.subject_id)}, HAND)
    assert shown.result is not None, shown
    return cast(Json, shown.result["task_run"])


def steps_of(run: Json) -> list[object]:
    return [step["status"] for step in cast("list[Json]", run["steps"])]


async def calls_of(owner: Connection, job: Job) -> list[str]:
    rows = await owner.fetch(
        "SELECT tool, kind FROM activity_events WHERE task_run_id = $1 ORDER BY recorded_at", job.subject_id
    )
    return [f"{row['tool']} {row['kind']}" for row in rows]


async def test_a_queued_run_is_cancelled_and_no_step_of_it_is_ever_made(
    gate: GateOnTest, worker: TaskRunWorker, superuser_connection: Connection
) -> None:
    job = await started(gate)
    ended = await cancelled(gate, job, reason="asked by mistake")
    assert ended.result is not None
    assert cast(Json, ended.result["task_run"])["status"] == "cancelled"
    assert await worker.work(job) is None
    run = await run_of(gate, job)
    assert (run["status"], run["message"], run["steps"]) == ("cancelled", "Cancelled before it began.", [])
    assert await calls_of(superuser_connection, job) == []


async def test_a_waiting_run_is_cancelled_with_the_question_that_its_step_left(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await at_level(owner_connection, 1)
    job = await started(gate)
    assert await worker.work(job) is not None
    (asked,) = await owner_connection.fetch("SELECT approval_id, call_id FROM approvals WHERE task_run_id IS NOT NULL")

    ended = await cancelled(gate, job, reason="no longer needed")

    assert ended.result is not None
    assert ended.result["cancelled_approvals"] == [str(asked["approval_id"])]
    assert await worker.work(job) is None
    run = await run_of(gate, job)
    assert (run["status"], steps_of(run)) == ("cancelled", ["done", "done", "cancelled"])
    assert run["message"] == "Cancelled; 2 of 3 steps done, which stands."
    rows = await superuser_connection.fetch(KINDS, asked["call_id"])
    assert [row["kind"] for row in rows] == ["tool.waiting", "tool.cancelled"]
    call = await gate.call("call_get", {"call_id": str(asked["call_id"])}, HAND)
    assert call.result is not None
    assert (call.result["outcome"], cast(Json, call.result["approval"])["state"]) == ("cancelled", "cancelled")
    answer = {"approval_id": str(asked["approval_id"]), "decision": "approve"}
    late = await gate.call("approval_decide", answer, HAND)
    assert code_of(late) == ("invalid", "already_decided")


async def test_a_question_that_only_a_higher_role_may_see_is_cancelled_too(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection
) -> None:
    await at_level(owner_connection, 1)
    job = await started(gate)
    await worker.work(job)
    await owner_connection.execute("UPDATE approvals SET needs_role = 'PARTNER' WHERE task_run_id IS NOT NULL")
    person = await add_member(owner_connection, Role.EMPLOYEE)
    other = replace(HAND, principal_id=PrincipalId(person))
    ended = await gate.call("task_run_cancel", {"task_run_id": str(job.subject_id)}, other)
    assert ended.result is not None, ended
    assert len(cast("list[str]", ended.result["cancelled_approvals"])) == 1
    states = await owner_connection.fetch("SELECT state FROM approvals WHERE task_run_id IS NOT NULL")
    assert [row["state"] for row in states] == ["cancelled"]


@pytest.mark.parametrize("stage", ["facts", "ticket", "outcome"])
async def test_a_step_under_way_may_end_and_none_follows_it(
    gate: GateOnTest, worker: TaskRunWorker, hold: Hold, superuser_connection: Connection, stage: str
) -> None:
    """The last step creates a task; it is held in the midst of its call while the run is cancelled."""
    job = await started(gate)
    hold.stage, hold.when = stage, lambda: is_third(superuser_connection, job)
    work = asyncio.create_task(worker.work(job))
    await hold.until_reached()
    ended = await cancelled(gate, job)
    hold.release.set()
    async with asyncio.timeout(30):
        assert await work is None
    assert ended.result is not None
    told = cast(Json, ended.result["task_run"])
    assert (told["status"], steps_of(told)) == ("cancelled", ["done", "done", "running"])
    run = await run_of(gate, job)
    assert (run["status"], steps_of(run)) == ("cancelled", ["done", "done", "done"])
    assert run["message"] == "Cancelled; 3 of 3 steps done, which stands."


async def test_a_step_that_was_done_is_done_though_another_worker_saw_its_run_cancelled_before(
    gate: GateOnTest, worker: TaskRunWorker, hold: Hold, superuser_connection: Connection
) -> None:
    """A cancellation leaves a job of its own: another worker takes it while the step's call is not yet committed."""
    job = await started(gate)
    hold.stage, hold.when = "outcome", lambda: is_third(superuser_connection, job)
    work = asyncio.create_task(worker.work(job))
    await hold.until_reached()
    await cancelled(gate, job)
    assert await worker.work(job) is None
    assert steps_of(await run_of(gate, job)) == ["done", "done", "cancelled"]
    hold.release.set()
    async with asyncio.timeout(30):
        assert await work is None
    run = await run_of(gate, job)
    assert (run["status"], steps_of(run)) == ("cancelled", ["done", "done", "done"])
    assert run["message"] == "Cancelled; 3 of 3 steps done, which stands."


async def is_third(inspector: Connection, job: Job) -> bool:
    """Whether two steps were made; if so, the run says by now that the third is under way."""
    made = "SELECT count(*) FROM activity_events WHERE task_run_id = $1 AND kind = 'tool.completed'"
    if await inspector.fetchval(made, job.subject_id) < 2:
        return False
    statuses: list[object] = []
    async with asyncio.timeout(20):
        while statuses != ["done", "done", "running"]:
            await asyncio.sleep(0.02)
            told = await inspector.fetchval(
                "SELECT steps FROM task_run_progress WHERE task_run_id = $1", job.subject_id
            )
            statuses = [step["status"] for step in cast("list[Json]", orjson.loads(told))]
    return True


async def test_a_step_whose_call_has_not_begun_when_the_run_is_cancelled_is_refused_by_policy(
    gate: GateOnTest, worker: TaskRunWorker, hold: Hold, superuser_connection: Connection
) -> None:
    job = await started(gate)
    hold.stage, hold.when = "parsed", lambda: is_third(superuser_connection, job)
    work = asyncio.create_task(worker.work(job))
    await hold.until_reached()
    await cancelled(gate, job)
    hold.release.set()
    async with asyncio.timeout(30):
        assert await work is None
    run = await run_of(gate, job)
    assert (run["status"], steps_of(run)) == ("cancelled", ["done", "done", "cancelled"])
    assert (await calls_of(superuser_connection, job))[-1] == "task_create tool.denied"
    reasons = await superuser_connection.fetchval(
        "SELECT reasons FROM activity_events WHERE task_run_id = $1 AND kind = 'tool.denied'", job.subject_id
    )
    assert reasons == ["task_run_cancelled"]


async def test_a_step_that_would_ask_when_its_run_is_cancelled_leaves_no_question(
    gate: GateOnTest,
    worker: TaskRunWorker,
    hold: Hold,
    owner_connection: Connection,
    superuser_connection: Connection,
) -> None:
    await at_level(owner_connection, 1)
    job = await started(gate)
    hold.stage = "waiting"
    work = asyncio.create_task(worker.work(job))
    await hold.until_reached()
    await cancelled(gate, job)
    hold.release.set()
    async with asyncio.timeout(30):
        assert await work is None
    assert await owner_connection.fetch("SELECT FROM approvals WHERE task_run_id IS NOT NULL") == []
    run = await run_of(gate, job)
    assert (run["status"], steps_of(run)) == ("cancelled", ["done", "done", "cancelled"])
    assert (await calls_of(superuser_connection, job))[-1] == "task_create tool.invalid"


@pytest.mark.parametrize("stage", ["outcome", "committed"])
async def test_a_run_that_is_cancelled_as_it_completes_has_one_outcome(
    gate: GateOnTest, worker: TaskRunWorker, hold: Hold, superuser_connection: Connection, stage: str
) -> None:
    job = await started(gate)
    hold.stage, hold.when = stage, lambda: is_third(superuser_connection, job)
    work = asyncio.create_task(worker.work(job))
    await hold.until_reached()
    hold.release.set()
    _, ended = await asyncio.gather(work, cancelled(gate, job))
    run = await run_of(gate, job)
    assert (run["status"], ended.outcome) in (("cancelled", "done"), ("completed", "invalid"))
    assert steps_of(run) == ["done", "done", "done"]


async def test_a_run_that_has_ended_is_not_cancelled_and_a_cancelled_one_not_again(
    gate: GateOnTest, worker: TaskRunWorker
) -> None:
    job = await started(gate)
    await worker.work(job)
    ended = await cancelled(gate, job)
    assert code_of(ended) == ("invalid", "already_ended")
    assert (await run_of(gate, job))["status"] == "completed"
    again = await started(gate)
    first, second = await asyncio.gather(cancelled(gate, again), cancelled(gate, again))
    assert {first.outcome, second.outcome} == {"done", "invalid"}


async def test_a_worker_that_takes_a_cancelled_run_over_says_what_the_record_knows_of_it(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection
) -> None:
    """The worker that made the last step died before it could say so."""
    job = await started(gate)
    await worker.work(job)
    steps = orjson.loads(
        await owner_connection.fetchval("SELECT steps FROM task_run_progress WHERE task_run_id = $1", job.subject_id)
    )
    steps[-1] |= {"status": "running", "outcome": None, "call_id": None}
    await owner_connection.execute(
        "UPDATE task_run_progress SET status = 'running', finished_at = NULL, steps = $2 WHERE task_run_id = $1",
        job.subject_id,
        orjson.dumps(steps).decode(),
    )
    await cancelled(gate, job)
    assert steps_of(await run_of(gate, job)) == ["done", "done", "running"]
    await worker.work(job)
    assert steps_of(await run_of(gate, job)) == ["done", "done", "done"]


@pytest.mark.parametrize("who", ["client", "service"])
async def test_who_may_not_change_things_cancels_nothing(gate: GateOnTest, who: str) -> None:
    job = await started(gate)
    principal = principal_of(who=who, mode="person", door="rest")
    ended = await gate.call("task_run_cancel", {"task_run_id": str(job.subject_id)}, principal)
    # A service account acts as an EMPLOYEE, and by the organization's level.
    assert ended.outcome == ("done" if who == "service" else "denied")


@pytest.mark.parametrize("run", [NOBODYS, FIRM_B.id("thing")])
async def test_another_organizations_run_is_no_run(gate: GateOnTest, run: UUID) -> None:
    ended = await gate.call("task_run_cancel", {"task_run_id": str(run)}, HAND)
    assert code_of(ended) == ("invalid", "task_run_not_found")


async def test_the_function_that_cancels_questions_needs_the_ticket_of_a_tool_that_declares_them(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection, app_connection: Connection
) -> None:
    await at_level(owner_connection, 1)
    job = await started(gate)
    await worker.work(job)
    cancel = "SELECT glow.cancel_approvals_of_run($1, $2, '', now())"
    async with app_connection.transaction():
        await stand_in(app_connection, FIRM_A, "partner")
        with pytest.raises(asyncpg.PostgresError, match="no ticket"):
            await app_connection.fetch(cancel, job.subject_id, FIRM_A.id("partner"))
