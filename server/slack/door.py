"""The Slack door: one request in, kept and acknowledged; and the work behind it, for as long as the server runs."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import cast

import aiohttp
import orjson
import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from domain.kernel import DomainError
from server.database.slack import EventKey, KeptEvent, PostgresSlack, Team
from server.hub import Hub
from server.problems import RETRY_AFTER_S, Problem, unavailable
from server.slack.bolt import bolt_app, dispatched, socket_mode
from server.slack.deliveries import (
    Commanded,
    Delivery,
    GoneOn,
    Ignored,
    Opened,
    Pressed,
    Rejected,
    Said,
    ToDecider,
    Unknown,
    delivery_of,
    envelope_of,
)
from server.slack.directs import Directs
from server.slack.guard import malformed, verified
from server.slack.inbox import Done, Ended, Inbox, Patience
from server.slack.messages import Messages
from server.slack.people import People
from server.slack.questions import Questions
from server.slack.web import TIMEOUT_S, Pause, SlackWeb, web_client
from server.slack_app import SlackApp
from tools.ports import Unavailable

log = structlog.get_logger()

Json = dict[str, object]

SETTLE_EVERY_S = 2.0


class SlackDoor:
    """Takes Slack's requests in, and works them off while `slack_door` holds it."""

    def __init__(
        self, hub: Hub, app: SlackApp, session: aiohttp.ClientSession, *, patience: Patience, pause: Pause
    ) -> None:
        self._hub = hub
        self._app = app
        self._store = store = PostgresSlack(hub.transactions, hub.pools.app, hub.pools.service)
        self._inbox = Inbox(store, self._work, clock=hub.clock, new_id=hub.new_id, patience=patience)
        web = SlackWeb(web_client(app, session), pause)
        people = People(web, hub.identities, time.monotonic)
        self._questions = questions = Questions(web=web, store=store, people=people, hub=hub)
        self._directs = Directs(web=web, store=store, people=people, hub=hub, enabled=app.direct_messages)
        self._messages = Messages(web=web, store=store, people=people, runs=hub.runs, questions=questions, pause=pause)
        self._bolt = bolt_app(web_client(app, session), self._keep, self._bot_user_id)

    @property
    def questions(self) -> Questions:
        """What waits for people."""
        return self._questions

    @property
    def directs(self) -> Directs:
        """What those who may decide are written."""
        return self._directs

    @property
    def inbox(self) -> Inbox:
        """What is under way."""
        return self._inbox

    async def events(self, request: Request) -> Response:
        """`POST /slack/events`.

        Raises  Problem: 4xx for what Slack did not sign or this door does not know; 503 while nothing can be kept.
        """
        secret = self._app.signing_secret
        if secret is None:
            raise Problem(404, "not_found", "Slack delivers to this server by Socket Mode.")
        body = await verified(request, secret, self._hub.clock())
        if body.get("type") == "url_verification":
            return _challenged(body)
        if body.get("type") == "app_rate_limited":
            log.warning("slack.rate_limited")
            return Response(status_code=200)
        try:
            if isinstance(await self._known(body), Ignored):
                return Response(status_code=200)
            answered = await dispatched(self._bolt, body, envelope_of(body).team_id)
        except Unknown as unknown:
            raise malformed("The body is nothing that Slack sends to an app like this.") from unknown
        if answered.status == 503:
            raise unavailable()
        # What bolt has no listener for is not for us, and done with.
        return Response(status_code=200)

    async def _known(self, body: Json) -> Delivery:
        """What it is, of a workspace that is connected.

        Raises  Unknown. Problem: 403.
        """
        envelope = envelope_of(body)
        team = await self._store.team(envelope.team_id)
        delivery = delivery_of(body, "" if team is None else team.bot_user_id)
        if team is None:
            detail = "This workspace is not connected to an organization of this server."
            raise Problem(403, "workspace_not_connected", detail, headers={"X-Slack-No-Retry": "1"})
        return delivery

    async def _bot_user_id(self, team_id: str) -> str | None:
        team = await self._store.team(team_id)
        return None if team is None else team.bot_user_id

    async def _keep(self, body: Json) -> None:
        """Durable before it is acknowledged.

        Raises  Unavailable, Unknown.
        """
        envelope = envelope_of(body)
        team = await self._store.team(envelope.team_id)
        if team is None or isinstance(delivery_of(body, team.bot_user_id), Ignored):
            return
        key = EventKey(
            organization_id=team.organization_id, team_id=envelope.team_id, event_id=envelope.event_id, attempt=1
        )
        await self._inbox.take(key, json.dumps(body))

    async def _work(self, key: EventKey, kept: KeptEvent) -> Ended:
        team = await self._store.team(key.team_id)
        if team is None or team.organization_id != key.organization_id:
            return Done(outcome="not_connected")
        delivery = delivery_of(cast(Json, json.loads(kept.payload)), team.bot_user_id)
        return await self._done(key, kept, team, delivery)

    async def _done(self, key: EventKey, kept: KeptEvent, team: Team, delivery: Delivery) -> Ended:
        match delivery:
            case Said():
                return await self._messages.answer(key, kept, team, delivery)
            case Commanded():
                return await self._messages.command(key, kept, team, delivery)
            case Opened():
                return await self._messages.greet(delivery)
            case Pressed():
                return await self._questions.pressed(key, team, delivery)
            case Rejected():
                return await self._questions.rejected(key, team, delivery)
            case GoneOn():
                return await self._messages.go_on(key, kept, team, delivery)
            case ToDecider():
                return await self._directs.tell(key, kept, delivery)
            case Ignored():
                return Done(outcome="ignored")

    async def settle(self) -> None:
        """Questions answered at other doors say so within moments."""
        while True:
            try:
                await self._questions.settle_answered()
                await self._questions.remind()
                await self._directs.plan()
                await self._directs.settle_answered()
            except (Unavailable, DomainError) as away:
                log.warning("slack.lost_database", reason=str(away))
            except Exception as fault:
                log.error("slack.settle_faulted", exc_info=fault)
            await asyncio.sleep(SETTLE_EVERY_S)

    async def listen(self, app_token: SecretStr) -> None:
        """Socket Mode, tried again until Slack lets us in; from then on bolt reconnects by itself."""
        while True:
            try:
                async with socket_mode(self._bolt, app_token):
                    log.info("slack.socket_open")
                    await asyncio.Event().wait()
            except Exception as fault:
                log.warning("slack.socket_refused", exc_info=fault)
            await asyncio.sleep(RETRY_AFTER_S)


@asynccontextmanager
async def slack_door(
    hub: Hub, app: SlackApp, *, patience: Patience | None = None, pause: Pause = asyncio.sleep
) -> AsyncGenerator[SlackDoor]:
    """The door, and the work behind it under way, for the length of the block."""
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        door = SlackDoor(hub, app, session, patience=patience or Patience(), pause=pause)
        await stack.enter_async_context(door.inbox.running())
        await stack.enter_async_context(_going_on(door.settle(), "slack questions"))
        if app.app_token is not None:
            await stack.enter_async_context(_going_on(door.listen(app.app_token), "slack socket"))
        yield door


@asynccontextmanager
async def _going_on(work: Coroutine[object, object, None], name: str) -> AsyncGenerator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _challenged(body: Json) -> Response:
    challenge = body.get("challenge")
    if not isinstance(challenge, str) or len(challenge) > 1000:
        raise malformed("A url_verification carries its challenge.")
    return Response(orjson.dumps({"challenge": challenge}), media_type="application/json")
