"""Budgets over HTTP: 10 of 200 calls pass, runs end clearly when their money is gone, and everybody is told why."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from agent.replay.model import Replayed
from agent.replay.service import Replays
from domain.kernel import RunId, utc_now
from server.database.connection import Connection
from server.database.conversations import PostgresSessions
from server.settings import Settings
from server.system_config import Price, SystemConfig
from tests.support.database import Database
from tests.support.doors import Doors, opened_doors, problem_of
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Answer, Call, Turn

Json = dict[str, Any]
MODEL = "gpt-wise"
LOOK = Call(name="task_list", arguments="{}")


async def set_budget(client: httpx.AsyncClient, **asked: object) -> Json:
    body = {"scope": "organization", "reason": "To try it.", **asked}
    answer = await client.put("/v1/budgets", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def left(client: httpx.AsyncClient) -> list[Json]:
    answer = await client.get("/v1/budgets")
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_of_200_calls_at_once_at_two_servers_against_a_budget_for_10_just_10_pass(
    doors: Doors, database: Database, owner_connection: Connection
) -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(opened_doors(database))
        clients = [await each.client() for each in (doors, other)]
        await set_budget(await doors.client("partner@acme"), measure="calls", effect="prepare", limit=10)

        async def create(number: int) -> httpx.Response:
            body = {"arguments": {"title": f"Task {number}"}}
            while True:
                answer = await clients[number % 2].post("/v1/tools/task_create/call", json=body)
                if answer.status_code != 503:  # too busy for it: nothing was done
                    return answer

        answers = await asyncio.gather(*(create(number) for number in range(200)))
    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert (len(passed), len(refused)) == (10, 190)
    for answer in refused:
        problem = problem_of(answer, 403, "denied")
        assert problem["verdict"] == {"decision": "deny", "reasons": ["budget_exhausted"]}
        assert "The organization's budget of 10 prepare calls a day is used up: 0 left; it renews at" in str(
            problem["detail"]
        )
    assert await owner_connection.fetchval("SELECT count(*) FROM tasks WHERE title ~ '^Task [0-9]+$'") == 10
    (budget,) = await left(await doors.client("partner@acme"))
    assert (budget["used"], budget["reserved"], budget["left"]) == (10, 0, 0)


async def test_what_was_set_is_kept_with_who_when_and_why_and_lifted_again(doors: Doors) -> None:
    partner = await doors.client("partner@acme")
    first = await set_budget(partner, measure="money", limit=2.5)
    assert (first["limit"], first["changed_by"]) == (2.5, "partner@acme.example")
    await set_budget(partner, measure="money", limit=None, reason="Not needed.")
    assert await left(partner) == []
    history: Json = (await partner.get("/v1/budgets/settings")).json()
    assert [(each["limit"], each["reason"]) for each in history["items"]] == [
        (None, "Not needed."),
        (2.5, "To try it."),
    ]
    refused = await (await doors.client()).put(
        "/v1/budgets", json={"scope": "organization", "measure": "money", "limit": 1, "reason": "More for me."}
    )
    problem_of(refused, 403, "denied")
    recorded: Json = (await partner.get("/v1/activity", params={"tool": "budget_set"})).json()
    assert [item["outcome"] for item in recorded["items"]] == ["denied", "done", "done"]


@pytest.fixture
def script() -> list[Answer]:
    """What the model says, one answer after another; then always the same."""
    return []


@pytest.fixture
async def fake(script: list[Answer]) -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(brain=lambda _: script.pop(0) if script else Turn(text="So it is.")) as server:
        yield server


@pytest.fixture
async def talking(database: Database, fake: FakeOpenAI) -> AsyncIterator[Doors]:
    settings = Settings(
        jwt_secret=SecretStr("a secret of tests, 32 bytes long or more"),
        model_api="chat_completions",
        model=MODEL,
        openai_base_url=fake.base_url,
    )
    async with opened_doors(database, settings=settings) as opened:
        opened.hub.config.current = SystemConfig(prices={MODEL: Price(input=1.0, output=10.0)})
        yield opened


async def said(client: httpx.AsyncClient, message: str = "What is there to do?") -> Json:
    return (await client.post("/v1/chat", json={"message": message})).json()


async def test_a_run_is_held_at_its_estimate_and_settled_at_what_its_model_used(
    talking: Doors, fake: FakeOpenAI, script: list[Answer]
) -> None:
    partner = await talking.client("partner@acme")
    await set_budget(partner, measure="tokens", limit=100_000)
    await set_budget(partner, measure="money", limit=1)
    await set_budget(partner, scope="run", measure="tokens", limit=50_000)
    script[:] = [Turn(calls=(LOOK,), usage=(1_000, 20)), Turn(text="Nothing.", usage=(1_100, 30))]
    client = await talking.client()
    assert (await said(client))["status"] == "completed"
    assert [request.body["max_tokens"] for request in fake.requests] == [8_192, 8_192]
    shown = {(item["scope"], item["measure"]): item for item in await left(partner)}
    assert (shown["organization", "tokens"]["used"], shown["organization", "tokens"]["reserved"]) == (2_150, 0)
    assert shown["organization", "money"]["used"] == 0.0026
    assert shown["run", "tokens"]["left"] == 50_000, "each run has its own"


async def test_a_run_whose_budget_is_gone_at_its_beginning_fails_and_the_model_is_not_asked(
    talking: Doors, fake: FakeOpenAI
) -> None:
    await set_budget(await talking.client("partner@acme"), measure="tokens", limit=100)
    answer = await said(await talking.client())
    assert answer["status"] == "failed"
    assert answer["error"]["code"] == "budget_exhausted"
    assert answer["error"]["retryable"] is False
    assert "The organization's budget of 100 tokens a day has too little left" in answer["error"]["message"]
    assert fake.requests == []


async def test_a_run_whose_budget_is_gone_on_the_way_answers_with_what_it_has(
    talking: Doors, fake: FakeOpenAI, script: list[Answer]
) -> None:
    partner = await talking.client("partner@acme")
    await set_budget(partner, scope="run", measure="money", limit=0.1)
    script[:] = [Turn(calls=(LOOK,), usage=(1_000, 9_900))]
    answer = await said(await talking.client())
    assert answer["status"] == "completed"
    assert (
        "I had to stop before I was finished. This run's budget of 0.1 US dollars has too little left" in answer["text"]
    )
    assert "Done: task_list." in answer["text"]
    assert len(fake.requests) == 1


async def test_an_agent_is_told_beforehand_that_its_runs_budget_will_refuse_a_call(
    talking: Doors, script: list[Answer]
) -> None:
    await set_budget(await talking.client("partner@acme"), scope="run", measure="calls", effect="prepare", limit=1)
    asks = Call(name="autonomy_query", arguments='{"tool": "task_create", "arguments": {"title": "A"}}')
    makes = Call(name="task_create", arguments='{"title": "A"}')
    script[:] = [Turn(calls=(each,)) for each in (asks, makes, asks, makes)]
    client = await talking.client()
    calls = (await said(client))["tool_calls"]
    assert [call["outcome"] for call in calls] == ["done", "done", "done", "denied"]
    foreseen = [call["result"]["tool"] for call in calls if call["tool"] == "autonomy_query"]
    assert [told["decision"] for told in foreseen] == ["allow", "deny"]
    assert foreseen[1]["reasons"] == ["budget_exhausted"]
    # The next run begins with a budget of its own.
    script[:] = [Turn(calls=(asks,))]
    (again,) = (await said(client))["tool_calls"]
    assert again["result"]["tool"]["decision"] == "allow"


@pytest.mark.parametrize("where", ["at its beginning", "on the way", "on the way, after words"])
async def test_a_run_that_a_budget_ended_is_told_again_the_same_though_the_budget_is_lifted(
    talking: Doors, fake: FakeOpenAI, script: list[Answer], where: str
) -> None:
    partner, client = await talking.client("partner@acme"), await talking.client()
    await set_budget(partner, scope="run", measure="tokens", limit=20_000 if where.startswith("on") else 100)
    words = "Let me look. " if where.endswith("words") else ""
    script[:] = [Turn(text=words, calls=(LOOK,), usage=(1_000, 19_000))]
    answer = await said(client)
    assert len(fake.requests) == (1 if where.startswith("on") else 0)
    await set_budget(partner, scope="run", measure="tokens", limit=None)
    found = await replayed(talking, answer["run_id"])
    assert found.divergence is None, found.divergence
    events: str = (await client.get(f"/v1/runs/{answer['run_id']}/events")).text
    assert (found.status, found.same) == (answer["status"], events.count("\ndata: "))
    assert len(fake.requests) == (1 if where.startswith("on") else 0), "nobody was asked again"


async def replayed(doors: Doors, run_id: str) -> Replayed:
    hub = doors.hub
    caller = await hub.authenticator.caller_of(await doors.token("employee@acme"), None)
    replays = Replays(PostgresSessions(hub.transactions), hub.rules.personas, lambda budget: budget, 200)
    return await replays.replay(caller.principal("rest"), RunId(UUID(run_id)))


async def test_what_is_left_pays_for_a_shorter_answer(talking: Doors, fake: FakeOpenAI) -> None:
    partner = await talking.client("partner@acme")
    await set_budget(partner, scope="run", measure="money", limit=0.02)
    assert (await said(await talking.client()))["status"] == "completed"
    (request,) = fake.requests
    most = request.body["max_tokens"]
    assert isinstance(most, int)
    assert 512 <= most < 2_000


async def test_a_model_without_a_price_is_not_asked_where_a_budget_of_money_is_set(
    talking: Doors, fake: FakeOpenAI
) -> None:
    talking.hub.config.current = SystemConfig()
    await set_budget(await talking.client("partner@acme"), measure="money", limit=1_000)
    answer = await said(await talking.client())
    assert answer["error"]["code"] == "budget_exhausted"
    assert "the model has no price" in answer["error"]["message"]
    assert fake.requests == []


async def test_the_page_of_a_day_says_when_it_renews(doors: Doors) -> None:
    partner = await doors.client("partner@acme")
    await set_budget(partner, measure="calls", effect="read", limit=1_000)
    (item,) = await left(partner)
    assert item["renews_at"] > utc_now().isoformat()
    assert item["renews_at"].endswith("T00:00:00+00:00")
