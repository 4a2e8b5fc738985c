"""Statuses and pauses of the provider, told with respx; nothing here streams."""

import httpx
import pytest
import respx

from agent.model import AssistantMessage, Finished, ModelFailed, ModelRequest, TextDelta, ToolCall, UserMessage
from agent.providers.chat_completions import chat_completions_model
from agent.providers.patience import Patience, Surroundings
from agent.providers.streaming import Endpoint, StreamedModel
from tests.support.respx_bridge import client_for

URL = "https://models.example/v1/chat/completions"
ANSWER = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}
REQUEST = ModelRequest(messages=[UserMessage(text="Hello?")], tools=[])


def model_of(
    router: respx.Router,
    pauses: list[float],
    *,
    chance: float = 0.0,
    base_url: str = "https://models.example/v1",
    api_key: str | None = None,
) -> StreamedModel:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    endpoint = Endpoint(
        name="fake-1", context_window=8192, api_key=api_key, base_url=base_url, patience=Patience(tries=7)
    )
    surroundings = Surroundings(sleep=pause, chance=lambda: chance)
    return chat_completions_model(endpoint, surroundings=surroundings, http_client=client_for(router))


async def test_pauses_grow_to_a_bound_and_the_answer_comes_through() -> None:
    router, pauses = respx.Router(), list[float]()
    route = router.post(URL).mock(side_effect=[*[httpx.Response(503)] * 6, httpx.Response(200, json=ANSWER)])
    events = [event async for event in model_of(router, pauses).stream(REQUEST)]
    assert events == [TextDelta(text="Hello."), Finished(reason="stop")]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert route.call_count == 7


async def test_chance_spreads_a_pause_over_all_its_length() -> None:
    router, pauses = respx.Router(), list[float]()
    router.post(URL).mock(side_effect=[httpx.Response(429), httpx.Response(200, json=ANSWER)])
    assert [event async for event in model_of(router, pauses, chance=0.75).stream(REQUEST)]
    assert pauses == [0.125]


async def test_openais_own_header_in_milliseconds_counts() -> None:
    router, pauses = respx.Router(), list[float]()
    wait = httpx.Response(429, headers={"retry-after-ms": "1500", "retry-after": "30"})
    router.post(URL).mock(side_effect=[wait, httpx.Response(200, json=ANSWER)])
    assert [event async for event in model_of(router, pauses).stream(REQUEST)]
    assert pauses == [1.625]


@pytest.mark.parametrize("status", [400, 401, 404, 422, 501])
async def test_other_statuses_are_not_tried_again(status: int) -> None:
    router, pauses = respx.Router(), list[float]()
    route = router.post(URL).mock(return_value=httpx.Response(status, json={"error": {"message": "no"}}))
    with pytest.raises(ModelFailed):
        assert [event async for event in model_of(router, pauses).stream(REQUEST)]
    assert (route.call_count, pauses) == (1, [])


async def test_the_address_keeps_its_query_and_the_environment_says_for_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    router = respx.Router()
    route = router.post(URL, params={"api-version": "7"}).mock(return_value=httpx.Response(200, json=ANSWER))
    model = model_of(router, [], base_url="https://models.example/v1/?api-version=7", api_key="sk-1")
    assert [event async for event in model.stream(REQUEST)]
    sent = route.calls.last.request.headers
    assert (sent["openai-organization"], sent["authorization"]) == ("org-1", "Bearer sk-1")
    assert (sent["accept"], sent["content-type"]) == ("text/event-stream", "application/json")
    assert "openai-project" not in sent


async def test_no_cookie_of_one_answer_goes_with_the_next_request() -> None:
    router = respx.Router()
    answer = httpx.Response(200, json=ANSWER, headers={"set-cookie": "who=eva; Path=/"})
    route = router.post(URL).mock(return_value=answer)
    model = model_of(router, [])
    for _ in range(2):
        assert [event async for event in model.stream(REQUEST)]
    assert "cookie" not in route.calls.last.request.headers


async def test_half_a_character_in_a_name_that_a_model_made_up_is_sent_all_the_same() -> None:
    router = respx.Router()
    route = router.post(URL).mock(return_value=httpx.Response(200, json=ANSWER))
    asked = AssistantMessage(text="", calls=(ToolCall(provider_id="a", name="odd\ud83d", arguments="{}"),))
    assert [event async for event in model_of(router, []).stream(ModelRequest(messages=[asked], tools=[]))]
    assert b"odd\\ud83d" in route.calls.last.request.content


async def test_a_key_that_no_header_can_carry_is_a_connection_that_failed() -> None:
    base_url = "http://127.0.0.1:9/v1"
    patience = Patience(tries=1)
    model = chat_completions_model(
        Endpoint(name="fake-1", context_window=8192, api_key="two\nlines", base_url=base_url, patience=patience)
    )
    with pytest.raises(ModelFailed) as failed:
        assert [event async for event in model.stream(REQUEST)]
    await model.close()
    assert failed.value.code == "model_unavailable"
