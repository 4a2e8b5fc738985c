"""A provider under test on a fake server, by either API."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

import pytest

from agent.model import (
    AssistantMessage,
    CallRequested,
    Json,
    Message,
    ModelEvent,
    ModelFailed,
    ModelRequest,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolOffer,
    ToolResultMessage,
    UserMessage,
)
from agent.providers.chat_completions import chat_completions_model
from agent.providers.patience import Patience, Sleep, Surroundings
from agent.providers.responses import responses_model
from agent.providers.streaming import Endpoint, StreamedModel
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Answer

KEY = "sk-test-0123456789abcdef"
Api = Literal["chat_completions", "responses"]
SCHEMA: Json = {"type": "object", "properties": {}}
CONVERSATION = ModelRequest(
    messages=(
        SystemMessage(text="Be brief."),
        UserMessage(text="Hello \ud83d?"),
        AssistantMessage(text="", calls=(ToolCall(provider_id="a", name="task_list", arguments='{"limit": 5}'),)),
        ToolResultMessage(provider_id="a", name="task_list", text='{"outcome": "done"}'),
        AssistantMessage(text="Nothing.", calls=(ToolCall(provider_id="b", name="x", arguments='{"limit": '),)),
        ToolResultMessage(provider_id="b", name="x", text="{}"),
        AssistantMessage(text="Done."),
    ),
    tools=[ToolOffer(name="task_list", description="Lists tasks.", parameters=SCHEMA)],
    max_output_tokens=50,
)
"""Every kind of message, a half of a character and arguments that are no JSON among them: what each API must carry."""


class Stages(AsyncExitStack):
    """What is to be taken down after a test, and the API that it is about."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self.api = api


class Stage:
    """A fake server with the model under test on it, and the pauses that the model took between its tries."""

    def __init__(self, fake: FakeOpenAI, model: StreamedModel, pauses: list[float]) -> None:
        self.fake = fake
        self.model = model
        self.pauses = pauses

    async def events(self, request: ModelRequest | None = None) -> list[ModelEvent]:
        return [event async for event in self.model.stream(request or ask())]

    async def failure(self, request: ModelRequest | None = None) -> ModelFailed:
        return (await self.broken_turn(request))[1]

    async def broken_turn(self, request: ModelRequest | None = None) -> tuple[list[ModelEvent], ModelFailed]:
        """What the model said until it failed, and how it failed."""
        said: list[ModelEvent] = []
        try:
            async for event in self.model.stream(request or ask()):
                said.append(event)  # noqa: PERF401 - a comprehension would lose what came before the failure
        except ModelFailed as failed:
            return said, failed
        pytest.fail(f"the turn did not fail, it said {said}")


async def play(stack: Stages, script: Sequence[Answer], patience: Patience | None = None) -> Stage:
    fake = await stack.enter_async_context(FakeOpenAI(script))
    return await on(stack, fake, fake.base_url, patience)


async def on(
    stack: Stages, fake: FakeOpenAI, base_url: str, patience: Patience | None = None, sleep: Sleep | None = None
) -> Stage:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    endpoint = Endpoint(
        name="fake-1", context_window=8192, api_key=KEY, base_url=base_url, patience=patience or Patience()
    )
    make = responses_model if stack.api == "responses" else chat_completions_model
    model = make(endpoint, surroundings=Surroundings(sleep=sleep or pause, chance=lambda: 0.0))
    stack.push_async_callback(model.close)
    return Stage(fake, model, pauses)


def ask(*messages: Message, tools: Sequence[ToolOffer] = ()) -> ModelRequest:
    return ModelRequest(messages=messages or (UserMessage(text="Hello?"),), tools=tools)


def text_of(events: Sequence[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls_of(events: Sequence[ModelEvent]) -> list[ToolCall]:
    return [event.call for event in events if isinstance(event, CallRequested)]


@asynccontextmanager
async def model_on(fake: FakeOpenAI, api: Api, name: str = "fake-1") -> AsyncGenerator[StreamedModel]:
    """The provider of that API, on the fake server."""
    make = responses_model if api == "responses" else chat_completions_model
    model = make(Endpoint(name=name, context_window=128_000, api_key=None, base_url=fake.base_url))
    try:
        yield model
    finally:
        await model.close()
