"""Both real providers behind one port, so that one hub answers by whichever API a message names."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson

from agent.model import Model, ModelEvent, ModelRequest, UserMessage
from agent.providers.chat_completions import chat_completions_model
from agent.providers.responses import responses_model
from agent.providers.streaming import Endpoint
from tests.support.fake_openai import FakeOpenAI, has_result, words_of
from tests.support.fake_turns import Call, Turn
from tests.support.model_stages import Api

Json = dict[str, Any]


def obedient(body: Json) -> Turn:
    """A model that makes the calls which the message lists as JSON, and then says that it did."""
    if has_result(body):
        return Turn(text="Done.")
    _, asked = _told(words_of(body))
    calls = (
        Call(name=tool, arguments=orjson.dumps(arguments).decode(), id=f"id_{place}")
        for place, (tool, arguments) in enumerate(asked)
    )
    return Turn(calls=tuple(calls), reasoning="sealed")


def _told(message: str) -> tuple[Api, list[list[Any]]]:
    """The API and the calls that a message names; calls alone go by Chat Completions."""
    told: object = orjson.loads(message)
    if isinstance(told, list):
        return "chat_completions", cast("list[list[Any]]", told)
    named = cast(Json, told)
    return cast("Api", named["api"]), cast("list[list[Any]]", named["calls"])


class EitherApi:
    """Satisfies agent.model.Model: each turn is answered by the provider whose API its message names."""

    name = "either"
    context_window = 128_000

    def __init__(self, models: dict[Api, Model]) -> None:
        self._models = models

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        message = next(each.text for each in reversed(request.messages) if isinstance(each, UserMessage))
        return self._models[_told(message)[0]].stream(request)


@asynccontextmanager
async def obedient_by_either() -> AsyncGenerator[EitherApi]:
    """The obedient model on a fake server, asked over HTTP by both providers."""
    async with FakeOpenAI(brain=obedient) as fake:
        endpoint = Endpoint(name="fake-1", context_window=128_000, api_key=None, base_url=fake.base_url)
        chat, responses = chat_completions_model(endpoint), responses_model(endpoint)
        yield EitherApi({"chat_completions": chat, "responses": responses})
        await chat.close()
        await responses.close()
