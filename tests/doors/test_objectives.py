"""Tasks that are objectives for the agent: done with nobody there, shown on the task run, bounded like all it does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from agent.model import ModelRequest
from domain.kernel import Principal, PrincipalId, TaskRunId
from domain.tasks.model import TaskRun
from server.database.connection import Connection
from server.hub import Hub, HubOptions
from server.worker.again import Again
from server.worker.objectives import LOOK_AGAIN, ObjectiveWorker
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors, problem_of
from tests.support.scripted_model import ScriptedModel, Turn, asks, call, says

OWN = """
SELECT facts::jsonb ->> 'approval_own' = 'true' FROM activity_events
WHERE tool = 'approval_decide' AND opens ORDER BY recorded_at DESC LIMIT 1
"""
OBJECTIVE = {"title": "Count the letters", "description": "Say how many there are.", "kind": "objective"}


class Agent:
    """What the model of these tests says, and where it is held."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.turns: list[Turn] = []
        self.model = ScriptedModel(brain=self._brain, pace=self._pace)

    def _brain(self, request: ModelRequest) -> Turn:
        return self.turns.pop(0) if self.turns else says("There are none.")

    async def _pace(self) -> None:
        self.reached.set()
        await self.goes_on.wait()


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
async def doors(database: Database, agent: Agent) -> AsyncIterator[Doors]:
    async with in_a_task(opened_doors(database, HubOptions(model=agent.model))) as opened:
        yield opened


async def begun(client: httpx.AsyncClient, **given: object) -> str:
    task = (await client.post("/v1/tasks", json={**OBJECTIVE, **given})).json()
    answer = await client.post(f"/v1/tasks/{task['task_id']}/runs")
    assert answer.status_code == 202, answer.text
    return f"/v1/task-runs/{answer.json()['task_run_id']}"


async def ended(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """A run, once it has come to its end: its stream is told till then."""
    async with asyncio.timeout(60):
        assert (await client.get(f"{path}/events")).status_code == 200
    return (await client.get(path)).json()


async def test_an_objective_is_done_by_the_agent_and_its_answer_stands_on_the_task_run(
    doors: Doors, agent: Agent
) -> None:
    client, colleague = await doors.client(), await doors.client("manager@acme")
    agent.turns = [asks(call("task_list", {"limit": 1})), says("There are seven.")]
    run = await ended(client, await begun(client, input={"agent": "operations", "month": 5}))

    assert (run["status"], run["progress"], run["message"]) == ("completed", 1.0, "The agent has answered.")
    assert run["answer"]["text"] == "There are seven."
    assert [(step["name"], step["status"]) for step in run["steps"]] == [("task_list", "done"), ("answer", "done")]
    told = str(agent.model.requests[0])
    assert all(words in told for words in ("Count the letters", "Say how many there are.", '"month":5'))
    record = (await client.get(f"/v1/activity/{run['steps'][0]['call_id']}")).json()
    assert (record["door"], record["mode"], record["principal"]) == ("worker", "agent", "employee@acme.example")
    conversation = f"/v1/conversations/{run['answer']['conversation_id']}"
    assert (await client.get(f"{conversation}/messages")).json()["items"]
    problem_of(await colleague.get(conversation), 404, "not_found")


async def test_cancelling_the_task_run_cancels_the_agents_run(doors: Doors, agent: Agent) -> None:
    client = await doors.client()
    agent.goes_on.clear()
    path = await begun(client)
    async with asyncio.timeout(60):
        await agent.reached.wait()
    assert (await client.post(f"{path}/cancel")).json()["status"] == "cancelled"
    run = await ended(client, path)
    assert run["status"] == "cancelled"
    assert (await ended(client, f"/v1/runs/{run['answer']['run_id']}"))["status"] == "cancelled"


async def test_an_agent_that_there_is_not_fails_the_run_in_words(doors: Doors) -> None:
    client = await doors.client()
    run = await ended(client, await begun(client, input={"agent": "nobody"}))
    assert run["status"] == "failed"
    assert "no such agent" in run["failure"]


async def test_an_agent_at_work_on_an_objective_begins_no_other(doors: Doors, agent: Agent) -> None:
    client = await doors.client()
    other = (await client.post("/v1/tasks", json=OBJECTIVE)).json()["task_id"]
    agent.turns = [asks(call("task_run", {"task_id": other})), says("I may not.")]
    run = await ended(client, await begun(client))
    record = (await client.get(f"/v1/activity/{run['steps'][0]['call_id']}")).json()
    assert (record["outcome"], record["error_code"]) == ("invalid", "objective_within_objective")


async def test_at_l0_the_agent_does_nothing_where_nobody_waits_for_it(doors: Doors, agent: Agent) -> None:
    partner, client = await doors.client("partner@acme"), await doors.client()
    setting = {"scope": "member", "member": "employee@acme.example", "floor": "L0", "ceiling": "L0", "reason": "test"}
    assert (await partner.put("/v1/autonomy/settings", json=setting)).status_code == 200
    agent.turns = [asks(call("task_list", {})), says("I was not allowed to.")]
    run = await ended(client, await begun(client))
    (step, _) = run["steps"]
    assert (step["status"], step["outcome"]) == ("failed", "denied")


async def test_what_needs_a_persons_approval_waits_for_it_and_the_objective_goes_on_after_it(
    doors: Doors, agent: Agent
) -> None:
    partner, client = await doors.client("partner@acme"), await doors.client()
    agent.turns = [asks(call("task_create", {"title": "Ask for the letter"})), says("Asked.")]
    agent.goes_on.clear()
    path = await begun(client)
    async with asyncio.timeout(60):
        await agent.reached.wait()
    # Only now, so that beginning it did not have to wait.
    setting = {"scope": "member", "member": "employee@acme.example", "floor": "L1", "ceiling": "L1", "reason": "test"}
    assert (await partner.put("/v1/autonomy/settings", json=setting)).status_code == 200
    agent.goes_on.set()
    run_id = (await client.get(path)).json()["answer"]["run_id"]
    async with asyncio.timeout(60):
        assert "run.waiting" in (await client.get(f"/v1/runs/{run_id}/events")).text
    (asked,) = (await client.get("/v1/approvals?state=pending")).json()["items"]
    answer = await client.post(f"/v1/approvals/{asked['id']}/decision", json={"decision": "approve"})
    assert answer.json()["call"]["outcome"] == "done"
    run = await ended(client, path)
    assert (run["status"], run["answer"]["text"]) == ("completed", "Asked.")
    assert [(step["name"], step["status"]) for step in run["steps"]] == [("task_create", "done"), ("answer", "done")]


@pytest.mark.parametrize(("maker", "own"), [("manager", True), ("partner", False)])
async def test_behind_what_the_agent_of_a_scheduled_objective_asks_stands_whoever_made_the_schedule(
    doors: Doors, agent: Agent, superuser_connection: Connection, maker: str, own: bool
) -> None:
    by, manager = await doors.client(f"{maker}@acme"), await doors.client("manager@acme")
    task = (await (await doors.client()).post("/v1/tasks", json=OBJECTIVE)).json()["task_id"]
    agent.turns = [asks(call("task_remind", {"task_id": task, "text": "Count."})), says("Asked.")]
    schedule = {"task_id": task, "cron": "0 7 * * *", "time_zone": "UTC"}
    assert (await by.post("/v1/schedules", json=schedule)).status_code == 201
    await superuser_connection.execute("UPDATE schedule_progress SET next_run_at = now() - interval '1 second'")
    async with asyncio.timeout(60):
        while not (items := (await manager.get("/v1/approvals?state=pending")).json()["items"]):
            pass
    (asked,) = items
    assert (asked["tool"], asked["set_up_by"]) == ("task_remind", [f"{maker}@acme.example"])
    answer = await manager.post(f"/v1/approvals/{asked['id']}/decision", json={"decision": "reject"})
    assert answer.status_code == 200, answer.text
    assert await superuser_connection.fetchval(OWN) is own


async def test_whoever_takes_the_job_over_finds_the_agents_run_and_begins_no_other(doors: Doors, agent: Agent) -> None:
    client, hub = await doors.client(), doors.hub
    agent.goes_on.clear()
    path = await begun(client)
    async with asyncio.timeout(60):
        await agent.reached.wait()
    principal, run = await found(hub, path)
    other = ObjectiveWorker(runs=hub.runs, transactions=hub.transactions, clock=hub.clock)
    # As if the first had died before it could say which run it began.
    following = asyncio.create_task(other.work(principal, replace(run, answer=None)))
    agent.goes_on.set()
    async with asyncio.timeout(60):
        assert await following is None
    shown = await ended(client, path)
    assert (shown["status"], shown["answer"]["text"]) == ("completed", "There are none.")
    assert len(agent.model.requests) == 1


async def test_nobody_is_told_anything_while_the_agent_waits_for_a_person(doors: Doors, agent: Agent) -> None:
    partner, client, hub = await doors.client("partner@acme"), await doors.client(), doors.hub
    agent.turns = [asks(call("task_create", {"title": "Ask for the letter"}))]
    agent.goes_on.clear()
    path = await begun(client)
    async with asyncio.timeout(60):
        await agent.reached.wait()
    setting = {"scope": "member", "member": "employee@acme.example", "floor": "L1", "ceiling": "L1", "reason": "test"}
    assert (await partner.put("/v1/autonomy/settings", json=setting)).status_code == 200
    agent.goes_on.set()
    async with asyncio.timeout(60):
        while (await client.get(path)).json()["status"] != "waiting":
            pass
    principal, run = await found(hub, path)
    looking = ObjectiveWorker(runs=hub.runs, transactions=hub.transactions, clock=hub.clock)
    assert await looking.work(principal, run) == Again(after=LOOK_AGAIN)
    assert (await found(hub, path))[1].progress.version == run.progress.version
    await client.post(f"{path}/cancel")
    assert (await ended(client, path))["status"] == "cancelled"


async def found(hub: Hub, path: str) -> tuple[Principal, TaskRun]:
    """Whose task run it is, as the worker acts for them, and the run."""
    principal_id = await principal_of(hub)
    organization_id = (await hub.identities.memberships(principal_id))[0].organization_id
    principal = Principal(
        organization_id=organization_id, principal_id=principal_id, kind="person", mode="agent", door="worker"
    )
    async with hub.transactions.session(organization_id, principal_id) as session:
        return principal, await session.work.tasks.get_run(TaskRunId(UUID(path.rpartition("/")[2])))


async def principal_of(hub: Hub) -> PrincipalId:
    found = await hub.identities.principal_by_email("employee@acme.example")
    assert found is not None
    return found
