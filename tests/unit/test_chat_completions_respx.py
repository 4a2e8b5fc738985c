"""Statuses and pauses of the provider, told with respx; nothing here streams."""

import httpx
import pytest
import respx

from agent.model import Finished, ModelFailed, ModelRequest, TextDelta, UserMessage
from agent.providers.chat_completions import ChatCompletionsModel, Patience, Surroundings
from tests.support.respx_bridge import client_for

URL = "https://models.example/v1/chat/completions"
ANSWER = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}
REQUEST = ModelRequest(messages=[UserMessage(text="Hello?")], tools=[])


def model_of(router: respx.Router, pauses: list[float], *, chance: float = 0.0) -> ChatCompletionsModel:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    return ChatCompletionsModel(
        name="fake-1",
        context_window=8192,
        api_key=None,
        base_url="https://models.example/v1",
        patience=Patience(tries=7),
        surroundings=Surroundings(sleep=pause, chance=lambda: chance),
        http_client=client_for(router),
    )


async def test_pauses_grow_to_a_bound_and_the_answer_comes_through() -> None:
    router, pauses = respx.Router(), list[float]()
    route = router.post(URL).mock(side_effect=[*[httpx.Response(503)] * 6, httpx.Response(200, json=ANSWER)])
    events = [event async for event in model_of(router, pauses).stream(REQUEST)]
    assert events == [TextDelta(text="Hello."), Finished(reason="stop")]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert route.call_count == 7


async def test_chance_shortens_a_pause_by_at_most_half() -> None:
    router, pauses = respx.Router(), list[float]()
    router.post(URL).mock(side_effect=[httpx.Response(429), httpx.Response(200, json=ANSWER)])
    assert [event async for event in model_of(router, pauses, chance=1.0).stream(REQUEST)]
    assert pauses == [0.25]


async def test_openais_own_header_in_milliseconds_counts() -> None:
    router, pauses = respx.Router(), list[float]()
    wait = httpx.Response(429, headers={"retry-after-ms": "1500", "retry-after": "30"})
    router.post(URL).mock(side_effect=[wait, httpx.Response(200, json=ANSWER)])
    assert [event async for event in model_of(router, pauses).stream(REQUEST)]
    assert pauses == [1.625]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
async def test_other_statuses_are_not_tried_again(status: int) -> None:
    router, pauses = respx.Router(), list[float]()
    route = router.post(URL).mock(return_value=httpx.Response(status, json={"error": {"message": "no"}}))
    with pytest.raises(ModelFailed):
        assert [event async for event in model_of(router, pauses).stream(REQUEST)]
    assert (route.call_count, pauses) == (1, [])
