"""The application with a Slack door on a fake Slack: the demo firm's people are in its workspace."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import httpx
from pydantic import SecretStr

from domain.kernel import CallId, OrganizationId, Principal, PrincipalId, new_id, utc_now
from domain.resources import resource_folder
from server.app import AppOptions, create_app
from server.database.connection import connected
from server.demo.loader import found_demo
from server.hub import Hub, HubOptions, open_hub
from server.logins import Login
from server.settings import Settings
from server.slack.door import SlackDoor
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, Doors, settings_of_tests
from tests.support.fake_slack import BOT_TOKEN, SIGNING_SECRET, TEAM, FakeSlack, Message, user
from tools.outcomes import CallOutcome, CallRequest

Json = dict[str, Any]

ROLES = ("partner", "director", "manager", "employee", "client", "readonly", "eqr", "admin")


async def no_pause(_seconds: float) -> None:
    """No waiting for what Slack would allow next: the loop is given a turn."""
    await asyncio.sleep(0)


def with_slack(slack: FakeSlack, settings: Settings | None = None, **changes: Any) -> Settings:
    """The settings of tests, as a Slack app of the fake workspace."""
    given = {
        "slack_bot_token": SecretStr(BOT_TOKEN),
        "slack_signing_secret": SecretStr(SIGNING_SECRET),
        "slack_api_base_url": slack.base_url.rstrip("/"),
        # Written by whoever tests it, in its own time.
        "slack_direct_messages": False,
        **changes,
    }
    return (settings or settings_of_tests()).model_copy(update=given)


def slack_id(who: str) -> str:
    """The Slack user of one of the demo firm's people, `role@firm`."""
    return "U" + who.replace("@", "").upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackWorld:
    """A server whose Slack is fake."""

    slack: FakeSlack
    doors: Doors
    http: httpx.AsyncClient

    @property
    def hub(self) -> Hub:
        return self.doors.hub

    @property
    def door(self) -> SlackDoor:
        return cast(SlackDoor, self.doors.app.state.slack)

    async def deliver(self, body: Json, **how: Any) -> httpx.Response:
        """Deliver, and wait until what it began is done."""
        answer = await self.slack.deliver(self.http, body, **how)
        await self.door.inbox.idle()
        return answer

    async def ask(self, text: str, who: str = "employee@acme", **where: Any) -> list[Message]:
        """A mention, and what stands in its thread afterwards."""
        body = self.slack.mention(slack_id(who), text, **where)
        answer = await self.deliver(body)
        assert answer.status_code == 200, answer.text
        event = body["event"]
        return self.slack.posted(event["channel"], event.get("thread_ts", event["ts"]))

    async def principal(self, who: str, **changes: Any) -> Principal:
        """One of the demo firm's people, by its own hand at REST."""
        return await principal_at(self.hub, who, **changes)

    async def call(self, who: str, tool: str, arguments: Json) -> CallOutcome:
        """A call by a person's own hand."""
        return await call_by(self.hub, who, tool, arguments)


async def principal_at(hub: Hub, who: str, **changes: Any) -> Principal:
    """One of the demo firm's people, by its own hand at REST; with changes."""
    role, firm = who.split("@")
    principal_id = await hub.identities.principal_by_email(f"{role}@{firm}.example")
    assert principal_id is not None
    (member,) = await hub.identities.memberships(PrincipalId(principal_id))
    person = Principal(
        organization_id=OrganizationId(member.organization_id),
        principal_id=PrincipalId(principal_id),
        kind="person",
        mode="person",
        door="rest",
    )
    return replace(person, **changes)


async def call_by(hub: Hub, who: str, tool: str, arguments: Json) -> CallOutcome:
    """A call by a person's own hand."""
    request = CallRequest(call_id=CallId(new_id()), tool=tool, arguments=arguments)
    return await hub.gate.call(request, await principal_at(hub, who))


def people(slack: FakeSlack, firm: str) -> None:
    """The demo firm's people join the workspace; its administrator runs it."""
    for role in ROLES:
        user_id = slack_id(f"{role}@{firm}")
        slack.users[user_id] = user(user_id, f"{role}@{firm}.example", is_admin=role == "admin")


@asynccontextmanager
async def slack_world(
    database: Database,
    options: HubOptions | None = None,
    *,
    connected_to: str | None = "acme",
    fake: FakeSlack | None = None,
    **settings: Any,
) -> AsyncGenerator[SlackWorld]:
    """The application with its lifespan running; the workspace belongs to that firm. `fake`: one that is open."""
    async with AsyncExitStack() as stack:
        slack = fake or await stack.enter_async_context(FakeSlack())
        async with connected(database.dsn(Login.OWNER)) as owner:
            await found_demo(owner, resource_folder("demo"), utc_now())
        hub = await stack.enter_async_context(
            open_hub(with_slack(slack, **settings), database.urls(), PUBLIC_URL, options)
        )
        if connected_to is not None:
            people(slack, connected_to)
            made = await call_by(hub, f"admin@{connected_to}", "slack_connect", {"team_id": TEAM})
            assert made.outcome == "done", made
        app = create_app(lambda: nullcontext(hub), AppOptions(runs_worker=False, pause=no_pause))
        await stack.enter_async_context(app.router.lifespan_context(app))
        doors = Doors(hub=hub, app=app, clients=stack)
        yield SlackWorld(slack=slack, doors=doors, http=await doors.stranger())
