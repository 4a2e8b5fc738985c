"""A hub whose model is away, refuses its key, stalls or is given up on: what reader, operator and provider see."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from domain.storage.postgres import Connection
from server.settings import ModelApi, Settings
from tests.support.database import Database
from tests.support.doors import Doors, opened_doors
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import HTTP_ERRORS, Answer, Turn

WHOLE = "The policy asks for two signatures, the manager's and the partner's."


@asynccontextmanager
async def doors_on(
    database: Database, fake: FakeOpenAI, *fallbacks: str, api: ModelApi = "chat_completions", stall_s: float = 30.0
) -> AsyncGenerator[Doors]:
    settings = Settings(
        jwt_secret=SecretStr("a secret of tests, 32 bytes long or more"),
        model_api=api,
        model="wise-1",
        openai_base_url=fake.base_url,
        openai_api_key=SecretStr("sk-own"),
        embedding_model="none",
        fallback_models=fallbacks,
        fallback_api_key=SecretStr("sk-other"),
        model_stall_s=stall_s,
    )
    async with opened_doors(database, settings=settings) as doors:
        yield doors


async def asked(client: httpx.AsyncClient, message: str = "What may you do on your own?") -> dict[str, Any]:
    answer = await client.post("/v1/chat", json={"message": message})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_while_the_model_is_down_the_offline_one_answers_says_so_and_is_not_kept_waiting(
    database: Database,
) -> None:
    script = [*[HTTP_ERRORS["bad_key"]] * 3, Turn(text="Back again.")]
    async with FakeOpenAI(script) as fake, doors_on(database, fake) as doors:
        client = await doors.client()
        for _ in range(4):
            answer = await asked(client)
            assert answer["status"] == "completed"
            assert answer["text"].startswith(
                "(wise-1 does not answer: The model provider refused our credential (HTTP 401, invalid_api_key). "
                "The offline model answers instead.)\n\n"
            )
            assert list(answer["usage"]["by_model"]) == ["offline"]
        assert len(fake.requests) == 3, "a model that refuses our key is left alone for a while"
        model = (await client.get("/readiness")).json()["dependencies"]["model"]
        assert model["state"] == "unavailable"
        assert "wise-1 does not answer" in model["detail"]


async def test_a_fallback_at_another_server_gets_its_own_key_and_its_name_into_the_usage(database: Database) -> None:
    async with FakeOpenAI([HTTP_ERRORS["bad_key"]]) as fake, FakeOpenAI([Turn(text=WHOLE)]) as other:
        async with doors_on(database, fake, f"responses:wise-2@{other.base_url}") as doors:
            client = await doors.client()
            events = (
                await client.post("/v1/chat", json={"message": "Who?"}, headers={"Accept": "text/event-stream"})
            ).text
        assert '"model":"wise-1"' in events
        assert "wise-2 answers instead.)" in events
        assert '"by_model":{"wise-2":{"input_tokens":11' in events
        assert other.requests[0].headers["authorization"] == "Bearer sk-other"
        assert fake.requests[0].headers["authorization"] == "Bearer sk-own"
        assert other.requests[0].path.endswith("/responses")


async def test_without_anybody_to_fall_back_to_the_run_fails_in_words(database: Database) -> None:
    async with FakeOpenAI([HTTP_ERRORS["unknown_model"]]) as fake, doors_on(database, fake, "none") as doors:
        answer = await asked(await doors.client())
        assert (answer["status"], answer["error"]["code"]) == ("failed", "model_rejected")


@pytest.mark.parametrize("api", ["chat_completions", "responses"])
async def test_a_stalled_answer_is_gone_on_with_and_its_text_stands_once(database: Database, api: ModelApi) -> None:
    script: Sequence[Answer] = [Turn(text=WHOLE, stop_after=6, then="stall"), Turn(text=WHOLE)]
    async with FakeOpenAI(script) as fake, doors_on(database, fake, api=api, stall_s=0.2) as doors:
        client = await doors.client()
        answer = await asked(client, "Who signs?")
        assert (answer["status"], answer["text"]) == ("completed", WHOLE)
        events = (await client.get(f"/v1/runs/{answer['run_id']}/events")).text
        assert "message.reset" not in events
        assert (len(fake.requests), fake.requests[0].gone.is_set()) == (2, True)
        further = {"message": "And then?", "conversation_id": answer["conversation_id"]}
        await client.post("/v1/chat", json=further)
        assert "connection broke off" not in str(fake.requests[-1].body), "what we asked for the rest is not kept"


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(Turn(text=WHOLE, stop_after=6, then="stall"), id="amid its words"),
        pytest.param(Turn(text=WHOLE, first_token_s=60, late_headers=True), id="before the headers"),
        pytest.param(HTTP_ERRORS["rate_limited_for_2_s"], id="between two tries"),
    ],
)
async def test_a_cancelled_run_hangs_up_on_the_provider_within_a_second(
    database: Database, owner_connection: Connection, turn: Answer
) -> None:
    async with FakeOpenAI([turn] * 4) as fake, doors_on(database, fake) as doors:
        client = await doors.client()
        talking = asyncio.create_task(asked(client))
        await asyncio.wait_for(fake.asked.wait(), 20)
        run_id = await owner_connection.fetchval("SELECT run_id FROM runs WHERE status = 'running'")
        cancelled = (await client.post(f"/v1/runs/{run_id}/cancel")).json()
        assert cancelled["status"] == "cancelled"
        if isinstance(turn, Turn):
            await asyncio.wait_for(fake.requests[0].gone.wait(), 1)
        assert (await talking)["status"] == "cancelled"
        assert len(fake.requests) == 1
