"""A call that waits, at an MCP client that shows pages: it asks its person to decide there, and is told how that ended.

In every era, over both transports. What the client says of the page decides nothing.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import httpx2
import pytest
import pytest_asyncio
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult

from domain.kernel import CallId, PrincipalId
from server.database.connection import Connection, connected
from server.database.embedded import EmbeddedServer
from server.hub import HubOptions
from server.settlements import MOST_FOLLOWED
from tests.doors.test_mcp_door import body_of
from tests.doors.test_mcp_stdio import GLOW
from tests.support.command_host import ROOT
from tests.support.database import Database
from tests.support.environment import external
from tests.support.firms import FIRM_A
from tests.support.gates import principal_of
from tests.support.mcp_wire import headers_of, modern, modern_headers, post, rpc
from tests.support.served import Served, firms_database, served

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

Json = dict[str, Any]
Answer = Literal["accept", "decline", "cancel"]
Decide = Callable[[str], Awaitable[None]]
"""Takes the address of a page that was shown."""
WAYS = ("2026-07-28", "legacy", "stdio 2026-07-28", "stdio legacy")
MANAGER = ("mcp", "--organization", "firm-1", "--user", "manager@more-1.example")


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with firms_database(cluster, template) as database:
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database) -> AsyncIterator[Served]:
    async with served(firms) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(firms: Database) -> AsyncIterator[Connection]:
    async with connected(firms.dsn("postgres")) as connection:
        yield connection


@dataclass(slots=True)
class Person:
    """Sits at the client: what they were shown, and what they do then."""

    does: Decide
    says: Answer = "accept"
    waits_for: bool = True
    """Whether they come back from the page when they have decided, or at once."""
    shown: list[ElicitRequestURLParams] = field(default_factory=list[ElicitRequestURLParams])
    deciding: list["asyncio.Task[None]"] = field(default_factory=list["asyncio.Task[None]"])

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams)
        self.shown.append(params)
        decided = asyncio.ensure_future(self.does(params.url))
        self.deciding.append(decided)
        if self.waits_for:
            await decided
        return ElicitResult(action=self.says)


@dataclass(slots=True)
class Heard:
    """The notifications that a client gets."""

    methods: list[str] = field(default_factory=list[str])

    async def __call__(self, message: object) -> None:
        self.methods.append(str(getattr(message, "method", "")))


@asynccontextmanager
async def client_of(
    server: Served, firms: Database, way: str, person: Person | None, heard: Heard | None = None
) -> AsyncGenerator[Client]:
    """A client of the SDK where this person sits, acting for the firm's manager, whose agent may do nothing unasked."""
    mode = way.removeprefix("stdio ")
    if way.startswith("stdio"):
        environment = {**external(firms), "GLOW_MODEL_API": "offline", "GLOW_PUBLIC_URL": server.url}
        program = StdioServerParameters(command=sys.executable, args=[*GLOW, *MANAGER], env=environment, cwd=ROOT)
        async with Client(
            stdio_client(program), mode=mode, elicitation_callback=person, message_handler=heard
        ) as client:
            yield client
        return
    headers = {"Authorization": f"Bearer {server.token('MANAGER', 'mcp')}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, elicitation_callback=person, message_handler=heard) as client:
            yield client


def approval_of(url: str) -> str:
    return url.rpartition("#approval=")[2]


async def rest(server: Served, method: str, path: str, body: Json | None = None, who: str = "partner") -> Json:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {server.token(who)}"}) as http:
        answer = await http.request(method, f"{server.url}{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


def decides(server: Served, decision: str, comment: str | None = None) -> Decide:
    """The firm's partner, at the page."""

    async def decide(url: str) -> None:
        body = {"decision": decision} | ({} if comment is None else {"comment": comment})
        await rest(server, "POST", f"/v1/approvals/{approval_of(url)}/decision", body)

    return decide


async def nothing(url: str) -> None:
    """Nobody goes there."""


async def made(owner: Connection, title: str) -> tuple[int, int]:
    """How many tasks there are of this title, and how many calls were to make one."""
    tasks = await owner.fetchval("SELECT count(*) FROM tasks WHERE title = $1", title)
    calls = await owner.fetchval(
        """
        SELECT count(DISTINCT e.call_id)
        FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
        WHERE e.tool = 'task_create' AND e.opens AND p.arguments::jsonb ->> 'title' = $1
        """,
        title,
    )
    return tasks, calls


@dataclass(slots=True, kw_only=True)
class Seat:
    """A client, who sits there, and what can be seen of the firm from outside."""

    client: Client
    person: Person
    heard: Heard
    server: Served
    owner: Connection
    way: str

    async def create(self, title: str) -> tuple[Json, bool]:
        """What the client is told of the call, and whether as an error."""
        self.person.shown.clear()
        result = await self.client.call_tool("task_create", {"title": f"{title}, {self.way}"})
        return body_of(result), result.is_error

    async def made(self, title: str) -> tuple[int, int]:
        """How many tasks there are of this title, and how many calls were to make one."""
        return await made(self.owner, f"{title}, {self.way}")

    async def followed(self, call_id: str) -> Json:
        return body_of(await self.client.call_tool("call_get", {"call_id": call_id}))["result"]


async def is_told_what_was_decided_on_the_page_that_was_shown(seat: Seat) -> None:
    seat.person.does = decides(seat.server, "approve")
    body, is_error = await seat.create("Approved")
    assert (body["outcome"], is_error) == ("done", False), body
    (page,) = seat.person.shown
    assert page.url == f"{seat.server.url}/#approval={approval_of(page.url)}"
    assert "(task_create) waits for a person's approval, of role EMPLOYEE or above" in page.message
    approval = await rest(seat.server, "GET", f"/v1/approvals/{approval_of(page.url)}")
    assert (approval["call_id"], approval["state"]) == (body["call_id"], "executed")
    assert (await seat.followed(body["call_id"]))["result"] == body["result"]
    assert await seat.made("Approved") == (1, 1)


async def is_waited_for_and_a_rejection_told_with_its_reason(seat: Seat) -> None:
    seat.person.does, seat.person.waits_for = decides(seat.server, "reject", "Not this quarter."), False
    body, is_error = await seat.create("Rejected")
    assert (body["outcome"], is_error) == ("rejected", True), body
    assert body["error"] == {"code": "rejected", "message": "Not this quarter."}
    assert await seat.made("Rejected") == (0, 1)


async def leaves_the_call_waiting_by_not_going_there(seat: Seat, says: Answer) -> None:
    seat.person.does, seat.person.says = nothing, says
    body, is_error = await seat.create(f"Left, {says}")
    assert (body["outcome"], is_error) == ("waiting", False), body
    assert body["approval"]["url"] == seat.person.shown[0].url
    assert (await rest(seat.server, "GET", f"/v1/approvals/{body['approval']['id']}"))["state"] == "pending"
    assert await seat.made(f"Left, {says}") == (0, 1)
    await decides(seat.server, "approve")(body["approval"]["url"])
    assert (await seat.followed(body["call_id"]))["outcome"] == "done"
    assert await seat.made(f"Left, {says}") == (1, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_who_sits_at_the_client(server: Served, firms: Database, owner: Connection, way: str) -> None:
    person, heard = Person(nothing), Heard()
    async with client_of(server, firms, way, person, heard) as client:
        seat = Seat(client=client, person=person, heard=heard, server=server, owner=owner, way=way)
        await is_told_what_was_decided_on_the_page_that_was_shown(seat)
        assert ("notifications/elicitation/complete" in heard.methods) == way.endswith("legacy")
        await is_waited_for_and_a_rejection_told_with_its_reason(seat)
        await leaves_the_call_waiting_by_not_going_there(seat, "decline")
        await leaves_the_call_waiting_by_not_going_there(seat, "cancel")
        await asyncio.gather(*person.deciding)


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_an_agent_that_accepts_by_itself_has_decided_nothing(
    firms: Database, owner: Connection, mode: str
) -> None:
    title = f"Accepted by nobody, {mode}"
    options = HubOptions(settled_within=timedelta(milliseconds=20))
    async with served(firms, options) as impatient, client_of(impatient, firms, mode, Person(nothing)) as client:
        body = body_of(await client.call_tool("task_create", {"title": title}))
        assert body["outcome"] == "waiting"
        assert (await rest(impatient, "GET", f"/v1/approvals/{body['approval']['id']}"))["state"] == "pending"
    assert await made(owner, title) == (0, 1)


def showing(title: str, elicitation: Json | None = None, **more: object) -> Json:
    """A call by a client that has declared to show pages, unless it has declared something else."""
    body = modern("tools/call", {"name": "task_create", "arguments": {"title": title}, **more})
    capabilities: Json = {"elicitation": {"url": {}} if elicitation is None else elicitation}
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities
    return body


def headers(server: Served, who: str = "MANAGER") -> dict[str, str]:
    return modern_headers(server.token(who, "mcp"), "tools/call", "task_create")


async def result_of(server: Served, body: Json, who: str = "MANAGER") -> Json:
    answer = await post(server, body, headers(server, who))
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def test_a_state_brought_back_tells_of_the_one_call_however_often(server: Served, owner: Connection) -> None:
    asked = await result_of(server, showing("Brought back"))
    assert asked["resultType"] == "input_required"
    page = asked["inputRequests"]["approval"]
    assert page["method"] == "elicitation/create"
    assert set(page["params"]) == {"mode", "message", "url"}
    await decides(server, "approve")(page["params"]["url"])
    again = showing(
        "Brought back", requestState=asked["requestState"], inputResponses={"approval": {"action": "accept"}}
    )
    told = [await result_of(server, again) for _ in range(3)]
    assert {each["structuredContent"]["outcome"] for each in told} == {"done"}
    assert len({each["structuredContent"]["call_id"] for each in told}) == 1
    assert await made(owner, "Brought back") == (1, 1)


async def test_a_state_is_good_for_its_own_request_only(server: Served, owner: Connection) -> None:
    state = (await result_of(server, showing("Its own")))["requestState"]
    for body, who in (
        (showing("Another", requestState=state), "MANAGER"),
        (showing("Its own", requestState=state), "partner"),
        (showing("Its own", requestState=f"{state[:-2]}AA"), "MANAGER"),
        (showing("Its own", requestState="{}"), "MANAGER"),
    ):
        answer = await post(server, body, headers(server, who))
        assert answer.json()["error"]["code"] == -32602, answer.text
    assert await made(owner, "Another") == (0, 0)
    assert await made(owner, "Its own") == (0, 1)


@pytest.mark.parametrize("elicitation", [{}, {"form": {}}], ids=["nothing more", "forms"])
async def test_who_shows_forms_only_is_told_that_the_call_waits(server: Served, elicitation: Json) -> None:
    body = (await result_of(server, showing("No form decides", elicitation)))["structuredContent"]
    assert body["outcome"] == "waiting"
    assert "url" in body["approval"]


async def shaken_hands(server: Served, revision: str) -> str | None:
    """The session of a client of this revision that has declared to show pages."""
    hello: Json = {
        "protocolVersion": revision,
        "capabilities": {"elicitation": {"url": {}}},
        "clientInfo": {"name": "test", "version": "1"},
    }
    greeted = await post(server, rpc("initialize", hello), headers_of(server.token("MANAGER", "mcp")))
    assert greeted.status_code == 200
    return greeted.headers["mcp-session-id"]


async def test_a_revision_that_knows_no_pages_is_told_that_the_call_waits(server: Served) -> None:
    session = await shaken_hands(server, "2025-06-18")
    body = rpc("tools/call", {"name": "task_create", "arguments": {"title": "An older one"}})
    sent = headers_of(server.token("MANAGER", "mcp"), "2025-06-18", **{"Mcp-Session-Id": session or ""})
    answer = await post(server, body, sent)
    assert answer.json()["result"]["structuredContent"]["outcome"] == "waiting"


async def test_another_principals_answer_for_a_page_counts_for_nothing(server: Served, owner: Connection) -> None:
    session = await shaken_hands(server, "2025-11-25")
    more = {"Mcp-Session-Id": session or ""}
    body = rpc("tools/call", {"name": "task_create", "arguments": {"title": "Whose answer"}})
    sent = headers_of(server.token("MANAGER", "mcp"), "2025-11-25", **more)
    async with (
        httpx2.AsyncClient(timeout=60) as http,
        http.stream("POST", f"{server.url}/mcp", content=json.dumps(body).encode(), headers=sent) as stream,
    ):
        events = (json.loads(line[6:]) async for line in stream.aiter_lines() if line.startswith("data: {"))
        asked = await anext(events)
        assert asked["method"] == "elicitation/create"
        declined = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}}
        elsewhere = headers_of(server.token("partner", "mcp"), "2025-11-25", **more)
        assert (await post(server, declined, elsewhere)).status_code == 202
        assert (await post(server, {**declined, "id": "approval-x"}, sent)).status_code == 202
        await decides(server, "approve")(asked["params"]["url"])
        told = [event async for event in events]
    assert [event.get("method") for event in told] == ["notifications/elicitation/complete", None]
    assert told[-1]["result"]["structuredContent"]["outcome"] == "done"
    assert await made(owner, "Whose answer") == (1, 1)


async def test_a_principal_follows_so_many_calls_at_once_and_of_more_is_told_where_they_stand(server: Served) -> None:
    waiting = (await result_of(server, showing("Followed", {})))["structuredContent"]
    settlements, call_id = server.hub.settlements, CallId(UUID(waiting["call_id"]))
    manager = replace(principal_of(door="mcp"), principal_id=PrincipalId(FIRM_A.id("MANAGER")))
    tasks = [asyncio.ensure_future(settlements.settled(manager, call_id)) for _ in range(MOST_FOLLOWED + 1)]
    *following, one_more = tasks
    assert (await one_more).outcome == "waiting"
    assert not any(each.done() for each in following)
    await decides(server, "approve")(waiting["approval"]["url"])
    assert {each.outcome for each in await asyncio.gather(*following)} == {"done"}
