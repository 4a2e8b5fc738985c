"""Every door, driven the way its own callers do: calls in, and what the door told of each of them."""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, cast
from uuid import UUID, uuid4

import httpx
import httpx2
import orjson
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from agent.model import ModelRequest, ToolCall, ToolResultMessage, UserMessage
from domain.kernel import Door, Level, Mode, OrganizationId, PrincipalId, Role, TaskRunId, utc_now
from server.database.connection import Connection
from server.hub import Hub
from server.tokens import Audience
from server.worker.task_runs import TaskRunWorker
from tests.support.command_host import CommandHost
from tests.support.firms import FIRM_A
from tests.support.model_stages import Api
from tests.support.parity import Cell, Told, Who
from tests.support.scripted_model import Turn, asks, says
from tests.support.site import SLUG, Site
from tests.support.told import told_by, told_of_envelope, told_of_stream
from tools.gate import Gate
from tools.work import Job
from tools.workflows import Step, Workflow, Workflows

Json = dict[str, Any]
Asked = tuple[str, Json]
"""A tool and its arguments."""
BATCH = 25
"""Calls that are asked for in one message: fewer than any persona's budget ends at."""


class Entrance(Protocol):
    """One way in: a door, and how its callers come to it."""

    @property
    def name(self) -> str: ...

    @property
    def door(self) -> Door: ...

    @property
    def mode(self) -> Mode:
        """Of a person's calls; a service account's are always an agent's."""
        ...

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        """Make the calls as this member, and give what was told of each."""
        ...


async def made_by(entrance: Entrance, who: Who, calls: Sequence[Asked]) -> list[Told]:
    """The calls, no more at once than a run's budget allows."""
    batches = [calls[at : at + BATCH] for at in range(0, len(calls), BATCH)]
    return [told for batch in batches for told in await entrance.make(who, batch)]


def cell_of(entrance: Entrance, who: Who) -> Cell:
    """The cell that a member's calls through an entrance must come from."""
    is_person = who.kind == "person"
    mode: Mode = entrance.mode if is_person else "agent"
    return Cell(door=entrance.door, kind=who.kind, mode=mode, attended=is_person and entrance.door != "worker")


@dataclass(frozen=True, slots=True)
class RestCalls:
    """`POST /v1/tools/{name}/call`, as a person with an `api` token or as a program with one for `service`."""

    site: Site
    audience: Audience = "api"
    door: Door = "rest"

    @property
    def name(self) -> str:
        return f"rest {self.audience}"

    @property
    def mode(self) -> Mode:
        return "person" if self.audience == "api" else "agent"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        async with httpx.AsyncClient(base_url=self.site.url, headers=self.site.headers(who, self.audience)) as http:
            return [told_by(await http.post(f"/v1/tools/{tool}/call", json={"arguments": a})) for tool, a in calls]


Route = Callable[[Json], tuple[str, str, Json | None]]
"""From a call's arguments to method, path and body."""


def _without(arguments: Json, name: str) -> Json:
    return {key: value for key, value in arguments.items() if key != name}


ROUTES: dict[str, Route] = {
    "knowledge_search": lambda given: ("POST", "/v1/knowledge/search", given),
    "task_create": lambda given: ("POST", "/v1/tasks", given),
    "task_run": lambda given: ("POST", f"/v1/tasks/{given['task_id']}/runs", _without(given, "task_id")),
    "task_update": lambda given: ("PATCH", f"/v1/tasks/{given['task_id']}", _without(given, "task_id")),
    "task_run_cancel": lambda given: (
        "POST",
        f"/v1/task-runs/{given['task_run_id']}/cancel",
        _without(given, "task_run_id"),
    ),
    "preference_set": lambda given: ("POST", "/v1/me/preferences", given),
    "preference_forget": lambda given: ("DELETE", f"/v1/me/preferences/{given['preference_id']}", None),
    "schedule_create": lambda given: ("POST", "/v1/schedules", given),
    "schedule_update": lambda given: (
        "PATCH",
        f"/v1/schedules/{given['schedule_id']}",
        _without(given, "schedule_id"),
    ),
    "schedule_delete": lambda given: ("DELETE", f"/v1/schedules/{given['schedule_id']}", None),
    "autonomy_set": lambda given: ("PUT", "/v1/autonomy/settings", given),
    "budget_set": lambda given: ("PUT", "/v1/budgets", given),
    "call_conclude": lambda given: (
        "POST",
        f"/v1/open-calls/{given['call_id']}/conclusion",
        _without(given, "call_id"),
    ),
    "autonomy_proposal_decide": lambda given: (
        "POST",
        f"/v1/autonomy/proposals/{given['proposal_id']}/decision",
        _without(given, "proposal_id"),
    ),
    "release_check": lambda given: ("POST", "/v1/release-controls/check", given),
    "signoff_record": lambda given: ("POST", "/v1/sign-offs", given),
    "analytics_report": lambda given: (
        "GET",
        f"/v1/analytics/{given['report']}?from={given['from']}&to={given['to']}",
        None,
    ),
    "document_content": lambda given: ("GET", f"/v1/knowledge/documents/{given['document_id']}/content", None),
    "document_delete": lambda given: ("DELETE", f"/v1/knowledge/documents/{given['document_id']}", None),
    "document_link": lambda given: ("POST", f"/v1/knowledge/documents/{given['document_id']}/link", None),
    "document_restore": lambda given: ("POST", f"/v1/knowledge/documents/{given['document_id']}/restore", None),
    "document_trust_set": lambda given: (
        "PUT",
        f"/v1/knowledge/documents/{given['document_id']}/trust",
        _without(given, "document_id"),
    ),
    "approval_decide": lambda given: (
        "POST",
        f"/v1/approvals/{given['approval_id']}/decision",
        _without(given, "approval_id"),
    ),
}
"""The routes of REST that stand for a call."""


Headers = Callable[[Site, Who], dict[str, str]]


def api_headers(site: Site, who: Who) -> dict[str, str]:
    """What a person's own program sends."""
    return site.headers(who, "api")


def widget_headers(site: Site, who: Who) -> dict[str, str]:
    """What a widget on the hub's own page sends for a member.

    Its token is signed here as a session signs it, since a service account, which no session is given, is tried too.
    """
    origin = site.hub.own_origin
    token = site.hub.tokens.sign(PrincipalId(who.id), SLUG, "widget", timedelta(minutes=15), origin)
    return {"Authorization": f"Bearer {token}", "Origin": origin}


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes that are named after things rather than tools."""

    site: Site
    name: str = "rest routes"
    door: Door = "rest"
    headers: Headers = api_headers
    tools: frozenset[str] = frozenset(ROUTES)
    """Those that can be called this way."""
    mode: Mode = "person"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        async with httpx.AsyncClient(base_url=self.site.url, headers=self.headers(self.site, who)) as http:
            answers: list[Told] = []
            for tool, arguments in calls:
                method, path, body = ROUTES[tool](arguments)
                answers.append(told_by(await http.request(method, path, json=body)))
            return answers


WIDGET_BUTTONS = frozenset({"approval_decide"})
"""What a person does in a widget by pressing; its uploads bring a file, and are driven apart."""


def widget_buttons(site: Site) -> Routes:
    """The routes that a widget's buttons call."""
    return Routes(site, name="widget buttons", door="widget", headers=widget_headers, tools=WIDGET_BUTTONS)


@dataclass(frozen=True, slots=True)
class McpCalls:
    """The SDK's own client, pinned to the newest revision or shaking hands as the older ones do."""

    site: Site
    revision: str
    door: Door = "mcp"
    mode: Mode = "agent"

    @property
    def name(self) -> str:
        return f"mcp {self.revision}"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        async with mcp_client(self.site.url, self.site.token(who, "mcp"), self.revision) as client:
            return [await _mcp_told(client, tool, arguments) for tool, arguments in calls]


@asynccontextmanager
async def mcp_client(url: str, token: str, revision: str) -> AsyncGenerator[Client]:
    """A client of the SDK, signed in by a token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=revision) as client,
    ):
        yield client


async def _mcp_told(client: Client, tool: str, arguments: Json) -> Told:
    try:
        result = await client.call_tool(tool, arguments)
    except MCPError as refused:
        call = cast(Json, refused.error.data or {}).get("call_id")
        return Told(call_id=None if call is None else UUID(call), outcome="invalid")
    return told_of_envelope(cast(Json, result.structured_content))


def obedient(request: ModelRequest) -> Turn:
    """A model that makes the calls which the message lists as JSON, and then says that it did."""
    if isinstance(request.messages[-1], ToolResultMessage):
        return says("Done.")
    message = next(each.text for each in reversed(request.messages) if isinstance(each, UserMessage))
    asked = cast("list[list[Any]]", orjson.loads(message))
    calls = [
        ToolCall(provider_id=f"id_{place}", name=tool, arguments=orjson.dumps(arguments).decode())
        for place, (tool, arguments) in enumerate(asked)
    ]
    return asks(*calls)


@dataclass(frozen=True, slots=True)
class ChatCalls:
    """`POST /v1/chat`, answered by the obedient model; the hub must have been opened with it.

    With an `api` the hub's model must be the one of either API, which goes by what the message names.
    """

    site: Site
    api: Api | None = None
    door: Door = "chat"
    mode: Mode = "agent"

    @property
    def name(self) -> str:
        return "chat" if self.api is None else f"chat {self.api}"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        message = orjson.dumps(calls if self.api is None else {"api": self.api, "calls": calls}).decode()
        async with httpx.AsyncClient(base_url=self.site.url, headers=self.site.headers(who, "api")) as http:
            answer = await http.post("/v1/chat", json={"message": message}, timeout=60)
        assert answer.status_code == 200, answer.text
        made = cast("list[Json]", answer.json()["tool_calls"])
        assert len(made) == len(calls), answer.json()
        return [
            Told(call_id=UUID(call["call_id"]), outcome=call["outcome"], decision=call.get("decision")) for call in made
        ]


@dataclass(frozen=True, slots=True)
class WidgetCalls:
    """What a widget's person says, answered by the obedient model; the run's own stream tells of its calls."""

    site: Site
    name: str = "widget"
    door: Door = "widget"
    mode: Mode = "agent"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        message = {"message": orjson.dumps(calls).decode()}
        accept = {"Accept": "text/event-stream"}
        async with httpx.AsyncClient(base_url=self.site.url, headers=widget_headers(self.site, who)) as http:
            answer = await http.post("/v1/chat", json=message, headers=accept, timeout=60)
        assert answer.status_code == 200, answer.text
        told = told_of_stream(answer.text)
        assert len(told) == len(calls), answer.text
        return told


@dataclass(frozen=True, slots=True)
class CliCalls:
    """`glow tools call`, in a process of its own."""

    host: CommandHost
    name: str = "cli"
    door: Door = "cli"
    mode: Mode = "person"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        return [await self._make(who, tool, arguments) for tool, arguments in calls]

    async def _make(self, who: Who, tool: str, arguments: Json) -> Told:
        whose = ("--organization", SLUG, "--user", who.email)
        given = ("--json", "--arguments", orjson.dumps(arguments).decode())
        printed = await self.host.run("tools", "call", tool, *whose, *given)
        assert printed.out, f"{printed.code}: {printed.err}"
        told = told_of_envelope(cast(Json, json.loads(printed.out)))
        assert printed.code == (0 if told.outcome in ("done", "waiting") else 1), f"{printed.code} for {told}"
        return told


_RUN = """
INSERT INTO task_runs (organization_id, task_run_id, task_id, kind, call_id, requested_by, created_at)
VALUES ($1, $2, $3, $4, $2, $5, now())
"""


@dataclass(frozen=True, slots=True)
class WorkerCalls:
    """Task runs whose workflow is one step, the call; on behalf of whoever is said to have started them."""

    hub: Hub
    gate: Gate
    owner: Connection
    name: str = "worker"
    door: Door = "worker"
    mode: Mode = "agent"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        return [await self._make(who, tool, arguments) for tool, arguments in calls]

    async def _make(self, who: Who, tool: str, arguments: Json) -> Told:
        run_id, kind = TaskRunId(uuid4()), f"one_{tool}"
        # Of no engagement, since what a run creates belongs to the run's; but a CLIENT sees no task of the firm's own.
        task_id = FIRM_A.id("workflow task" if who.role is Role.CLIENT else "thing")
        await self.owner.execute(_RUN, FIRM_A.organization_id, run_id, task_id, kind, who.id)
        worker = TaskRunWorker(
            gate=self.gate,
            transactions=self.hub.transactions,
            identities=self.hub.identities,
            workflows=Workflows([_one_step(kind, tool, arguments)]),
            clock=utc_now,
        )
        await worker.work(Job(kind="task_run", organization_id=_ORGANIZATION, subject_id=run_id))
        steps = await self.owner.fetchval("SELECT steps FROM task_run_progress WHERE task_run_id = $1", run_id)
        (step,) = cast("list[Json]", orjson.loads(steps))
        return Told(call_id=UUID(step["call_id"]), outcome=step["outcome"])


_ORGANIZATION = OrganizationId(FIRM_A.organization_id)


def _one_step(kind: str, tool: str, arguments: Json) -> Workflow:
    return Workflow(
        name=kind,
        title=kind,
        description=kind,
        minimum_autonomy=Level.L1,
        steps=(Step(name="only", tool=tool, arguments=arguments),),
    )
