"""`POST /v1/chat` on the hub as its settings make it, by both model APIs, from the token to the words."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from server.settings import ModelApi, Settings
from tests.support.database import Database
from tests.support.doors import Doors, opened_doors
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import HTTP_ERRORS, Answer, Call, Turn

APIS = ("chat_completions", "responses")


@asynccontextmanager
async def doors_on(database: Database, fake: FakeOpenAI, api: ModelApi) -> AsyncGenerator[Doors]:
    settings = Settings(
        jwt_secret=SecretStr("a secret of tests, 32 bytes long or more"),
        model_api=api,
        model="wise-1",
        openai_api_key=SecretStr("sk-hidden"),
        openai_base_url=fake.base_url,
        fallback_models=("none",),
    )
    async with opened_doors(database, settings=settings) as doors:
        yield doors


@pytest.mark.parametrize("api", APIS)
async def test_a_turn_with_a_call_is_answered_and_recorded(database: Database, api: ModelApi) -> None:
    script: list[Answer] = [
        Turn(text="Let me see.", calls=(Call(name="task_list", arguments='{"limit": 2}'),), reasoning="sealed"),
        Turn(text="Two tasks are open.", usage=(30, 9), write_bytes=7),
    ]
    async with FakeOpenAI(script) as fake, doors_on(database, fake, api) as doors:
        client = await doors.client()
        answer = (await client.post("/v1/chat", json={"message": "What is open?"})).json()
        assert (answer["status"], answer["text"].split("\n")[-1]) == ("completed", "Two tasks are open.")
        assert [(call["tool"], call["outcome"]) for call in answer["tool_calls"]] == [("task_list", "done")]
        assert (answer["usage"]["input_tokens"], answer["usage"]["model_calls"]) == (41, 2)
        recorded = (await client.get(f"/v1/activity/{answer['tool_calls'][0]['call_id']}")).json()
        assert (recorded["tool"], recorded["door"], recorded["outcome"]) == ("task_list", "chat", "done")
        ready = (await client.get("/readiness")).json()
        assert ready["dependencies"]["model"] == {"state": "ok", "detail": f"wise-1 ({api})"}
        assert {request.path for request in fake.requests} == {
            "/v1/responses" if api == "responses" else "/v1/chat/completions"
        }
        assert {request.headers["authorization"] for request in fake.requests} == {"Bearer sk-hidden"}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ([HTTP_ERRORS["bad_key"]], "model_rejected"),
        ([Turn(text="Hello to all", stop_after=2, then="error")] * 3, "model_interrupted"),
        ([Turn(text="Hello to all", stop_after=2, then="cut")] * 3, "model_interrupted"),
    ],
    ids=["refused", "error in the middle", "cut in the middle"],
)
async def test_a_model_that_fails_ends_the_run_and_the_conversation_goes_on(
    database: Database, api: ModelApi, broken: list[Answer], code: str
) -> None:
    script = [*broken, Turn(text="Here I am.")]
    async with FakeOpenAI(script) as fake, doors_on(database, fake, api) as doors:
        client = await doors.client()
        failed = (await client.post("/v1/chat", json={"message": "Hello?"})).json()
        assert (failed["status"], failed["error"]["code"]) == ("failed", code)
        assert "sk-" not in str(failed)
        again = {"message": "Hello again?", "conversation_id": failed["conversation_id"]}
        assert (await client.post("/v1/chat", json=again)).json()["text"] == "Here I am."
