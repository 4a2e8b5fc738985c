"""Agents whose manifests name a model of their own, on the hub as its settings make it, from the token on."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from pydantic import SecretStr

from domain.resources import resource_folder
from domain.storage.postgres import Connection
from server.hub import HubOptions
from server.settings import ModelApi, Settings
from server.system_config import Price, SystemConfig, SystemConfigFile
from tests.support.database import Database
from tests.support.doors import Doors, opened_doors
from tests.support.fake_openai import FakeOpenAI, words_of
from tests.support.fake_turns import Answer, Call, Turn

HAND_OVER = Call(name="agent_handover", arguments='{"agent": "audit", "reason": "An audit question."}')
SCRIPT: list[Answer] = [
    Turn(calls=(HAND_OVER,), reasoning="sealed-1", usage=(100, 10)),
    Turn(text="I looked twice.", reasoning="sealed-2", usage=(200, 20), cached=50),
]
CONFIG = """
models: {wise-2: {context_tokens: 16000}}
prices: {wise-1: {input: 1, output: 0}, wise-2: {input: 10, cached_input: 1, output: 0}}
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """What ships, but that the audit agent wants another model."""
    folder = tmp_path / "manifests"
    shutil.copytree(resource_folder("manifests"), folder)
    with (folder / "agents" / "audit.yaml").open("a") as audit:
        audit.write("model: wise-2\n")
    return folder


@asynccontextmanager
async def doors_on(
    database: Database, manifests: Path, fake: FakeOpenAI, api: ModelApi = "chat_completions"
) -> AsyncGenerator[Doors]:
    settings = Settings(
        jwt_secret=SecretStr("a secret of tests, 32 bytes long or more"),
        model_api=api,
        model="wise-1",
        openai_base_url=fake.base_url,
    )
    async with opened_doors(database, HubOptions(manifests=manifests), settings=settings) as doors:
        path = manifests.parent / "system.yaml"
        path.write_text(CONFIG, encoding="utf-8")
        doors.hub.config.current = SystemConfigFile.open(path).current
        yield doors


@pytest.mark.parametrize("api", ["chat_completions", "responses"])
async def test_an_agent_speaks_by_the_model_it_wants_over_the_same_connections(
    database: Database, manifests: Path, api: ModelApi
) -> None:
    async with (
        FakeOpenAI([*SCRIPT, Turn(text="And again.")]) as fake,
        doors_on(database, manifests, fake, api) as doors,
    ):
        client = await doors.client()
        agents = (await client.get("/v1/agents")).json()["items"]
        assert {each["name"]: (each["model"], each["wanted_model"]) for each in agents} == {
            **dict.fromkeys(("assistant", "librarian", "operations", "tax"), ("wise-1", None)),
            "audit": ("wise-2", None),
        }
        answer = (await client.post("/v1/chat", json={"message": "Audit this."})).json()
        assert (answer["status"], answer["text"]) == ("completed", "I looked twice.")
        further = {"message": "Audit that.", "conversation_id": answer["conversation_id"]}
        events = (await client.post("/v1/chat", json=further, headers={"Accept": "text/event-stream"})).text
        assert '"agent":"audit","model":"wise-2"' in events
        assert [request.body["model"] for request in fake.requests] == ["wise-1", "wise-2", "wise-2"]
        assert "sealed-1" not in str(fake.requests[1].body), "reasoning goes back to the model that it is of"
        assert fake.connections == 1


async def test_the_tokens_of_each_model_are_told_apart_and_priced_by_its_own_price(
    database: Database, manifests: Path, owner_connection: Connection
) -> None:
    async with FakeOpenAI(SCRIPT) as fake, doors_on(database, manifests, fake) as doors:
        client = await doors.client("partner@acme")
        run_id = (await client.post("/v1/chat", json={"message": "Audit this."})).json()["run_id"]
        usage = (await client.get(f"/v1/runs/{run_id}")).json()["usage"]
        assert usage == {
            "input_tokens": 300,
            "output_tokens": 30,
            "model_calls": 2,
            "tool_calls": 1,
            "by_model": {
                "wise-1": {"input_tokens": 100, "output_tokens": 10, "model_calls": 1, "cost_usd": 0.0001},
                "wise-2": {
                    "input_tokens": 200,
                    "output_tokens": 20,
                    "model_calls": 1,
                    "cached_tokens": 50,
                    "cost_usd": 0.00155,
                },
            },
            "cached_tokens": 50,
            "cost_usd": 0.00165,
        }
        stored = await owner_connection.fetch(
            "SELECT content FROM messages WHERE run_id = $1 AND role = 'assistant' ORDER BY ordinal", UUID(run_id)
        )
        assert [orjson.loads(row["content"])["usage"]["cost_usd"] for row in stored] == [0.0001, 0.00155]
        doors.hub.config.current = SystemConfig(prices={"wise-2": Price(input=500, output=500)})
        assert (await client.get(f"/v1/runs/{run_id}")).json()["usage"] == usage, "what was recorded holds"
        table = (await client.get("/v1/analytics/cost", params={"group_by": "model"})).json()["table"]
        rows = {row[0]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
        assert {name: (row["tokens"], row["runs"], row["tool_calls"], row["cost"]) for name, row in rows.items()} == {
            "wise-1": (110, 1, 1, 0.0001),
            "wise-2": (220, 0, 0, 0.00155),
        }


async def test_a_model_is_sent_no_more_than_the_operator_says_it_holds(database: Database, manifests: Path) -> None:
    long = "word " * 14_000
    answers: list[Answer] = [Turn(text="Noted."), Turn(text="Noted."), Turn(text="Noted.")]
    async with FakeOpenAI(answers) as fake, doors_on(database, manifests, fake) as doors:
        client = await doors.client()
        first = (await client.post("/v1/chat", json={"message": f"{long}first"})).json()
        for message, agent in (("second", "audit"), ("third", "assistant")):
            further = {"message": message, "agent": agent, "conversation_id": first["conversation_id"]}
            assert (await client.post("/v1/chat", json=further)).json()["status"] == "completed"
        assert [words_of(request.body) for request in fake.requests[1:]] == ["second", "third"]
        assert ["wordfirst" in str(request.body).replace(" ", "") for request in fake.requests] == [True, False, True]
