"""Slack's Web API as this door uses it: every wait bounded, and faults by what is to be done about them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from server.slack_app import SlackApp

Json = dict[str, object]
Pause = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]

TIMEOUT_S = 10
TRIES = 4
LONGEST_WAIT_S = 30.0
"""That Slack may ask for at once; what asks for more is put off."""
MENDABLE = frozenset({"invalid_auth", "token_revoked", "account_inactive", "token_expired", "not_authed"})
"""An operator mends these; until then nothing is lost."""
FAULTS_OF_SLACK = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)


class SlackAway(Exception):
    """Slack cannot be used now; the same call may succeed later. Nobody knows whether this one took hold."""


class SlackSaysNo(Exception):
    """Slack refuses the call for what it asks; `code` is Slack's."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"{method}: {code}")
        self.method = method
        self.code = code


class StreamClosed(SlackSaysNo):
    """The message is streamed no more: Slack ends a stream after some five minutes, whatever is sent to it."""


def web_client(app: SlackApp, session: aiohttp.ClientSession | None = None) -> AsyncWebClient:
    """The SDK's client, which tries nothing again by itself."""
    token = app.bot_token.get_secret_value()
    return AsyncWebClient(token=token, base_url=app.base_url, timeout=TIMEOUT_S, session=session, retry_handlers=[])


class SlackWeb:
    """Calls Slack; told to wait, it waits, not for ever."""

    def __init__(self, client: AsyncWebClient, pause: Pause = asyncio.sleep) -> None:
        self._client = cast(Any, client)  # its answers are untyped
        self._pause = pause

    async def read(self, method: str, **arguments: str) -> Json:
        """A method that takes its arguments as a form.

        Raises  SlackAway, SlackSaysNo.
        """
        return await self._patiently(method, params=arguments)

    async def call(self, method: str, **arguments: object) -> Json:
        """A method that takes its arguments as JSON; None is left out.

        Raises  SlackAway, StreamClosed, SlackSaysNo.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self._patiently(method, json=given)

    async def tried_once(self, method: str, **arguments: object) -> bool:
        """What is not worth waiting for, nor asking for twice; False: Slack did not take it."""
        try:
            return isinstance(await self._tried(method, {"json": arguments}), dict)
        except (SlackAway, SlackSaysNo):
            return False

    async def _patiently(self, method: str, **request: Any) -> Json:
        for _ in range(TRIES):
            wait_s = await self._tried(method, request)
            if isinstance(wait_s, dict):
                return wait_s
            if wait_s > LONGEST_WAIT_S:
                break
            await self._pause(wait_s)
        raise SlackAway(f"{method}: rate limited")

    async def _tried(self, method: str, request: dict[str, Any]) -> Json | float:
        """What Slack says, or for how long it wants to be left alone."""
        try:
            said = await self._client.api_call(method, **request)
        except SlackApiError as error:
            return _wait_s(error) if _is_limited(error) else _refusal(method, error)
        except (aiohttp.ClientError, TimeoutError, OSError, SlackClientError, ValueError) as fault:
            raise SlackAway(f"{method}: {type(fault).__name__}") from fault
        return cast(Json, said.data)


def _is_limited(error: SlackApiError) -> bool:
    return _response(error).status_code == 429


def _wait_s(error: SlackApiError) -> float:
    given = str(_response(error).headers.get("Retry-After", "1"))
    return float(given) if given.isascii() and given.isdigit() and len(given) < 6 else 1.0


def _refusal(method: str, error: SlackApiError) -> float:
    """Raises  SlackAway, StreamClosed, SlackSaysNo."""
    response = _response(error)
    data = response.data
    code = str(cast(Json, data).get("error", "")) if isinstance(data, dict) else ""
    if response.status_code >= 500 or not code or code in MENDABLE | FAULTS_OF_SLACK:
        raise SlackAway(f"{method}: {code or response.status_code}") from error
    if code == "message_not_in_streaming_state":
        raise StreamClosed(method, code) from error
    raise SlackSaysNo(method, code) from error


def _response(error: SlackApiError) -> Any:
    return cast(Any, error.response)
