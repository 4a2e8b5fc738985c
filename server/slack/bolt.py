"""bolt's part: it tells deliveries apart, leaves out our own words, and speaks Socket Mode; its listeners keep and ack.

Signatures and odd requests are the guard's, in front of it. Whose workspace it is was looked up before bolt is asked.
"""

import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from pydantic import SecretStr
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from server.slack.deliveries import APPROVE, REJECT, REJECTION

Json = dict[str, object]
Keep = Callable[[Json], Awaitable[None]]
"""Keeps a delivery; it may be acknowledged once this returns."""

HEADERS = {"content-type": "application/json"}
WHOLE = "glow_delivery"
"""Under which a request's context has the delivery as it came."""

log = structlog.get_logger()
quiet = logging.getLogger(__name__)
quiet.setLevel(logging.ERROR)


def bolt_app(client: AsyncWebClient, keep: Keep, bot_user_id: Callable[[str], Awaitable[str | None]]) -> AsyncApp:
    """The app with its listeners: each keeps the delivery before it acknowledges."""

    async def authorize(team_id: str | None, enterprise_id: str | None) -> AuthorizeResult | None:
        # Without asking Slack, so that a delivery is kept though Slack's API is away.
        own = None if team_id is None else await bot_user_id(team_id)
        if own is None:
            return None
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_user_id=own, bot_token=client.token)

    app = AsyncApp(
        name="glow",
        # Of what it does not know bolt would log the whole body.
        logger=quiet,
        client=client,
        signing_secret="",
        authorize=cast(Any, authorize),
        process_before_response=True,
        request_verification_enabled=False,
        ssl_check_enabled=False,
    )

    async def take(ack: Callable[[], Awaitable[BoltResponse]], body: Json, context: Json) -> None:
        await keep(cast(Json, context.get(WHOLE, body)))
        await ack()

    on = cast(Any, app)  # bolt's registrars are untyped decorators
    for event in ("app_mention", "message", "assistant_thread_started"):
        on.event(event)(take)
    on.command(re.compile(".*"))(take)
    on.action(re.compile(f"{APPROVE}|{REJECT}"))(take)
    on.view(REJECTION)(take)
    on.error(_kept_not)
    return app


async def dispatched(app: AsyncApp, body: Json, team_id: str) -> BoltResponse:
    """bolt's answer to a delivery that the guard has let through and this door knows."""
    told_apart_by = {"type": body.get("type"), "team_id": team_id, **dict(_told_apart_by(body))}
    request = AsyncBoltRequest(body=json.dumps(told_apart_by), headers=dict(HEADERS), context={WHOLE: body})
    return await app.async_dispatch(request)


def _told_apart_by(body: Json) -> Iterator[tuple[str, object]]:
    """Only what bolt needs: over another member, of a kind that Slack does not send, it would trip."""
    if "command" in body:
        yield "command", body["command"]
    for name, members in (("event", ("type", "subtype")), ("view", ("type", "callback_id"))):
        if name in body:
            yield name, {"type": "", **_texts(body[name], members)}
    if isinstance(actions := body.get("actions"), list):
        yield "actions", [_texts(each, ("action_id",)) for each in cast("list[object]", actions)[:1]]


def _texts(given: object, members: Sequence[str]) -> Json:
    had = cast(Json, given) if isinstance(given, dict) else {}
    return {name: had[name] for name in members if isinstance(had.get(name), str)}


@asynccontextmanager
async def socket_mode(app: AsyncApp, app_token: SecretStr) -> AsyncGenerator[None]:
    """Deliveries over a WebSocket of ours to Slack, for the length of the block; bolt reconnects by itself."""
    handler = AsyncSocketModeHandler(app, app_token.get_secret_value())
    try:
        await handler.connect_async()
        yield
    finally:
        await handler.close_async()


async def _kept_not(error: Exception) -> BoltResponse:
    """What is not kept is not acknowledged: Slack delivers it again."""
    log.warning("slack.not_kept", exc_info=error)
    return BoltResponse(status=503, body="")
