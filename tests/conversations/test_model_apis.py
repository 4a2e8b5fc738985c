"""A conversation of two turns with tool calls, by both model APIs over HTTP, each turn in another process."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import orjson
import pytest

from agent.model import ModelRequest, UserMessage
from agent.providers.chat_completions import ChatCompletionsWire
from agent.providers.responses import ResponsesWire
from agent.providers.streaming import Endpoint
from domain.kernel import ConversationId
from domain.paging import PageRequest
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, process_on
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Call, Json, Turn
from tests.support.firms import FIRM_A, seed_firms
from tests.support.model_stages import Api, model_on
from tests.support.scripted_model import ScriptedModel

SEARCH = Call(name="knowledge_search", arguments='{"query": "renewal"}', id="call_search")
LIST = Call(name="task_list", arguments='{"limit": 1}', id="call_list")
TURNS = (
    Turn(reasoning="sealed-1", calls=(SEARCH, LIST)),
    Turn(reasoning="sealed-2", text="It is renewed each year."),
    Turn(reasoning="sealed-3", text="Let me look.", calls=(LIST,)),
    Turn(text="One task is open."),
)


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms, with no run going."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which model is asked, and by which API."""

    api: Api
    name: str = "fake-1"


CHAT, RESPONSES = Asked(api="chat_completions"), Asked(api="responses")


async def said(
    pools: DatabasePools, fake: FakeOpenAI, by: Asked, message: str, conversation_id: ConversationId | None = None
) -> ConversationId:
    """A turn in a process of its own, which must end well."""
    async with model_on(fake, by.api, by.name) as model, process_on(pools, model) as process:
        handle = await process.say(message, conversation_id=conversation_id)
        frames = await process.frames(handle.run_id)
        assert frames[-1].type == "run.completed", frames[-1].data
        return handle.conversation_id


def kinds_of(body: Json) -> list[str]:
    """What a request of the Responses API passed back, item by item."""
    return [str(item.get("type") or item["role"]) for item in cast("Sequence[Json]", body["input"])]


def sealed_of(body: Json) -> list[object]:
    """The reasoning that a request passed back."""
    return [each["encrypted_content"] for each in cast("Sequence[Json]", body["input"]) if "encrypted_content" in each]


@pytest.mark.parametrize("by", [CHAT, RESPONSES], ids=lambda by: by.api)
async def test_two_turns_with_calls_go_through_and_each_call_is_recorded(
    pools: DatabasePools, superuser_connection: Connection, by: Asked
) -> None:
    async with FakeOpenAI(TURNS) as fake:
        conversation = await said(pools, fake, by, "When is it renewed?")
        await said(pools, fake, by, "And what is open?", conversation)
        assert len(fake.requests) == 4
    rows = await superuser_connection.fetch(
        "SELECT tool, outcome FROM activity_events WHERE conversation_id = $1 AND outcome IS NOT NULL ORDER BY tool",
        conversation,
    )
    assert [tuple(row) for row in rows] == [("knowledge_search", "done"), ("task_list", "done"), ("task_list", "done")]


async def test_reasoning_goes_back_in_a_later_turn_of_another_process_where_the_api_wants_it(
    pools: DatabasePools,
) -> None:
    async with FakeOpenAI(TURNS) as fake:
        conversation = await said(pools, fake, RESPONSES, "When is it renewed?")
        await said(pools, fake, RESPONSES, "And what is open?", conversation)
        bodies = [request.body for request in fake.requests]
    first = ["user", "reasoning", "function_call", "function_call", "function_call_output", "function_call_output"]
    assert kinds_of(bodies[1]) == first
    assert kinds_of(bodies[2]) == [*first, "reasoning", "assistant", "user"]
    assert kinds_of(bodies[3])[9:] == ["reasoning", "assistant", "function_call", "function_call_output"]
    assert [sealed_of(body) for body in bodies] == [
        [],
        ["sealed-1"],
        ["sealed-1", "sealed-2"],
        ["sealed-1", "sealed-2", "sealed-3"],
    ]
    assert {body["store"] for body in bodies} == {False}
    assert not [body for body in bodies if "previous_response_id" in body]


@pytest.mark.parametrize("by", [Asked(api="responses", name="fake-2"), CHAT], ids=lambda by: by.api)
async def test_reasoning_never_goes_to_another_model_or_api(pools: DatabasePools, by: Asked) -> None:
    async with FakeOpenAI(TURNS) as fake:
        conversation = await said(pools, fake, RESPONSES, "When is it renewed?")
        await said(pools, fake, by, "And what is open?", conversation)
        assert "sealed-1" not in str(fake.requests[2].body)
        assert "It is renewed each year." in str(fake.requests[2].body)


async def test_reasoning_is_shown_to_nobody(pools: DatabasePools, superuser_connection: Connection) -> None:
    async with FakeOpenAI(TURNS) as fake:
        conversation = await said(pools, fake, RESPONSES, "When is it renewed?")
    frames = await superuser_connection.fetchval(
        "SELECT string_agg(data, '') FROM run_events WHERE organization_id = $1", FIRM_A.organization_id
    )
    payloads = await superuser_connection.fetchval(
        "SELECT string_agg(p::text, '') FROM activity_payloads p WHERE organization_id = $1", FIRM_A.organization_id
    )
    assert "sealed-" not in frames + payloads
    async with process_on(pools, ScriptedModel()) as process:
        shown = await process.conversations.messages(EVA, conversation, PageRequest(limit=10))
    assert [message.role for message in shown.items] == ["user", "assistant", "assistant"]
    assert "sealed-" not in str(shown)


@pytest.mark.parametrize("by", [CHAT, RESPONSES], ids=lambda by: by.api)
async def test_each_request_begins_with_the_one_before_it_byte_for_byte(pools: DatabasePools, by: Asked) -> None:
    async with FakeOpenAI(TURNS) as fake:
        conversation = await said(pools, fake, by, "How often is the contract renewed?")
        await said(pools, fake, by, "And which tasks are open?", conversation)
        bodies = [request.body for request in fake.requests]
    grows = "messages" if by == CHAT else "input"
    assert len({orjson.dumps({**body, grows: None}) for body in bodies}) == 1, "what comes first stays as it is"
    said_so_far = [orjson.dumps(body[grows]).removesuffix(b"]") for body in bodies]
    assert all(later.startswith(earlier) for earlier, later in pairwise(said_so_far))
    assert all("prompt_cache_key" not in body for body in bodies), (
        "compatible servers may refuse a field they do not know"
    )


@pytest.mark.parametrize("wire", [ChatCompletionsWire("m", "max_tokens", keyed=True), ResponsesWire("m", keyed=True)])
def test_openais_own_server_is_told_which_requests_begin_alike(wire: ChatCompletionsWire | ResponsesWire) -> None:
    asked = ModelRequest(messages=(UserMessage(text="Hello?"),), tools=(), cache_key="a" * 32)
    assert wire.body(asked)["prompt_cache_key"] == "a" * 32
    own = Endpoint(name="m", context_window=1, api_key=None)
    assert [replace(own, base_url=url).is_openai for url in (None, "https://api.openai.com/v1", "http://x/v1")] == [
        True,
        True,
        False,
    ]
