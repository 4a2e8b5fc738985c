"""What a call of a tool spends at a model stands in its own event, and beside the runs' in the report of cost."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import httpx2
import pytest

from knowledge.embeddings.compatible import CompatibleEmbedder
from server.cli.opening import acting
from server.database.connection import Connection
from server.hub import HubOptions
from server.intake import Intake, IntakeFile, document_id_of
from server.system_config import Price, SystemConfig
from tests.support.database import Database
from tests.support.doors import Doors, opened_doors
from tests.support.fake_embeddings import FakeServer, status, whole

Json = dict[str, Any]
MODEL = "text-embedding-3-small"
COSTS = """
SELECT kind, cost_micros FROM activity_events WHERE call_id = $1 ORDER BY occurred_at, kind
"""


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def doors(database: Database, server: FakeServer) -> AsyncIterator[Doors]:
    embedder = CompatibleEmbedder(
        model=MODEL, api_key=None, base_url="http://127.0.0.1:9/v1", http_client=server.client()
    )
    async with opened_doors(database, HubOptions(embedder=embedder)) as opened:
        yield opened


def untold(body: Json) -> httpx2.Response:
    """A server that does not say what it has read."""
    answer: Json = whole(body).json()
    del answer["usage"]
    return httpx2.Response(200, json=answer)


async def uploaded(client: httpx.AsyncClient) -> None:
    """A document with its vectors."""
    files = {"file": ("a.md", b"# Fleet\n\nThe automobile is insured.", "text/markdown")}
    answer = await client.post("/v1/knowledge/documents", params={"wait": "true"}, files=files)
    assert answer.status_code == 201, answer.text


async def test_a_search_costs_what_its_question_cost_to_embed_and_nothing_while_that_is_known(
    doors: Doors, owner_connection: Connection
) -> None:
    client = await doors.client()
    doors.hub.config.current = SystemConfig(prices={MODEL: Price(input=1_000.5, output=0)})

    async def spent(mode: str, query: str = "three plain words") -> tuple[list[tuple[str, int | None]], object]:
        answer = await client.post(
            "/v1/tools/knowledge_search/call", json={"arguments": {"query": query, "mode": mode}}
        )
        assert answer.status_code == 200, answer.text
        call_id = answer.json()["call_id"]
        rows = await owner_connection.fetch(COSTS, UUID(call_id))
        item: Json = (await client.get(f"/v1/activity/{call_id}")).json()
        return [(row["kind"], row["cost_micros"]) for row in rows], item.get("cost_usd")

    await uploaded(client)

    # Upwards to a whole millionth of a dollar.
    assert await spent("vector") == ([("tool.completed", 3002)], 0.003002)
    assert await spent("hybrid") == ([("tool.completed", 0)], None), "it is still known where the question lies"
    assert await spent("lexical") == ([("tool.completed", 0)], None)

    doors.hub.config.current = SystemConfig(prices={MODEL: Price(input=0, output=0)})
    assert await spent("vector", "a model for free") == ([("tool.completed", 0)], None)
    doors.hub.config.current = SystemConfig()
    assert await spent("vector", "a model without a price") == ([("tool.completed", None)], None)


async def test_a_search_that_fails_costs_what_it_cost_all_the_same(
    doors: Doors, server: FakeServer, owner_connection: Connection
) -> None:
    client = await doors.client()
    doors.hub.config.current = SystemConfig(prices={MODEL: Price(input=10, output=0)})
    server.script[:] = [status(400)]
    refused = await client.post("/v1/knowledge/search", json={"query": "nothing was read", "mode": "vector"})
    server.script[:] = [lambda _: httpx2.Response(200, content=b"no vectors")]
    unread = await client.post("/v1/knowledge/search", json={"query": "somebody read", "mode": "vector"})
    for answer, kind, cost in ((refused, "tool.invalid", 0), (unread, "tool.invalid", None)):
        rows = await owner_connection.fetch(COSTS, UUID(answer.json()["call_id"]))
        assert [(row["kind"], row["cost_micros"]) for row in rows] == [(kind, cost)], answer.json()


async def test_the_report_states_calls_apart_from_runs_and_an_unknown_price_is_not_zero(
    doors: Doors, server: FakeServer, owner_connection: Connection
) -> None:
    client = await doors.client("partner@acme")
    # What the demo firm did before is left aside.
    period = {"from": (await owner_connection.fetchval("SELECT clock_timestamp()")).isoformat()}
    doors.hub.config.current = SystemConfig(prices={MODEL: Price(input=1_000, output=0)})

    async def report(**grouped: str) -> tuple[Json, Json, str]:
        told: Json = (await client.get("/v1/analytics/cost", params={**period, **grouped})).json()
        columns: list[str] = told["table"]["columns"]
        rows = {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in told["table"]["rows"]}
        return {figure["label"]: figure["value"] for figure in told["headline"]}, rows, told["summary"]

    await client.post("/v1/chat", json={"message": "hello"})
    await client.post("/v1/knowledge/search", json={"query": "four words of mine", "mode": "vector"})
    await uploaded(client)

    embedded = sum(len(text.split()) for body in server.bodies[1:] for text in body["input"])
    headline, by_model, said = await report()
    assert headline["Cost of tool calls"] == (4 + embedded) / 1_000
    assert headline["Cost"] == 0, "it is no part of what runs cost"
    assert by_model["(tool calls)"]["call_cost"] == headline["Cost of tool calls"]
    assert (by_model["(tool calls)"]["runs"], by_model["(tool calls)"]["tokens"]) == (0, 0)
    assert "Beside, tool calls asked models themselves for" in said
    _, by_door, _ = await report(group_by="door")
    assert by_door["rest"]["call_cost"] == 0.004
    assert by_door["worker"]["call_cost"] == embedded / 1_000

    server.script[:] = [untold]
    await client.post("/v1/knowledge/search", json={"query": "nobody says how many", "mode": "vector"})
    headline, by_model, said = await report()
    assert (headline["Cost of tool calls"], by_model["(tool calls)"]["unknown_calls"]) == (None, 1)
    assert "what 1 of them cost is not known" in said


async def test_what_is_taken_in_at_the_command_line_costs_what_it_cost(
    doors: Doors, server: FakeServer, owner_connection: Connection
) -> None:
    doors.hub.config.current = SystemConfig(prices={MODEL: Price(input=1_000, output=0)})
    intake, hand = Intake(doors.hub), await acting(doors.hub, "acme-audit", "partner@acme.example")
    file = IntakeFile(content=b"# Fleet\n\nThe van is insured too.", title="Fleet", file_name="fleet.md", said={})
    outcome = await intake.index(hand, document_id_of(await intake.upload(hand, file)))
    assert outcome is not None
    (row, *_) = [row for row in await owner_connection.fetch(COSTS, outcome.call_id) if row["kind"] == "tool.completed"]
    assert row["cost_micros"] == 1_000 * sum(len(text.split()) for body in server.bodies for text in body["input"])
