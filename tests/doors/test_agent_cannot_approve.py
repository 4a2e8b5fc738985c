"""An agent cannot approve: not its own calls nor anybody's, by no credential and no door; and each try is recorded.

The question that waits could be answered by whoever asked it, were it by that person's own hand: nothing but the mode
is in the way, which the last test shows.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from mcp.shared.exceptions import MCPError

from domain.kernel import DOORS, CallId
from server.database.connection import Connection
from server.hub import HubOptions, open_hub
from server.tokens import ALGORITHM, AUDIENCES, Audience
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, settings_of_tests
from tests.support.driven_doors import mcp_client, obedient
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import principal_of
from tests.support.mutants import gate_with, mutated
from tests.support.policies import policies_of, shipped_files, without_rule
from tests.support.scripted_model import ScriptedModel
from tests.support.site import Site, serving
from tools.outcomes import CallRequest

Json = dict[str, Any]
TASK: Json = {"title": "Ask for the bank letter"}
ANSWERS = ("approve", "reject")
REVISIONS = ("2026-07-28", "legacy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A served firm in which one call waits for an answer."""

    site: Site
    model: ScriptedModel
    approval_id: UUID
    inspector: Connection

    @property
    def path(self) -> str:
        return f"/v1/approvals/{self.approval_id}/decision"

    def arguments(self, decision: str = "approve") -> Json:
        return {"approval_id": str(self.approval_id), "decision": decision}

    def client(self, audience: Audience, who: str = "employee", site: Site | None = None) -> httpx.AsyncClient:
        """A client with a token of one of the firm's people."""
        at = site or self.site
        return httpx.AsyncClient(base_url=at.url, headers={"Authorization": f"Bearer {at.token_of(who, audience)}"})

    async def assert_still_waiting(self) -> None:
        """The question is open, and the call was not made."""
        state = await self.inspector.fetchval("SELECT state FROM approvals WHERE approval_id = $1", self.approval_id)
        made = await self.inspector.fetchval("SELECT count(*) FROM tasks WHERE title = $1", TASK["title"])
        assert (state, made) == ("pending", 0)

    async def tries(self) -> list[Json]:
        """The tries to decide that stand in the record, oldest first."""
        rows = await self.inspector.fetch(
            "SELECT call_id, kind, decision, outcome, reasons, door, mode, principal_id FROM activity_events "
            "WHERE tool = 'approval_decide' ORDER BY recorded_at"
        )
        return [dict(row) for row in rows]


@pytest.fixture
async def waiting(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> AsyncIterator[Waiting]:
    await seed_firms(owner_connection)
    await at_level(owner_connection, 1)
    model = ScriptedModel(brain=obedient)
    async with (
        open_hub(settings_of_tests(), database.urls(), PUBLIC_URL, HubOptions(model=model)) as hub,
        serving(hub) as site,
    ):
        asked = await hub.gate.call(
            CallRequest(call_id=CallId(uuid4()), tool="task_create", arguments=TASK), principal_of()
        )
        assert asked.approval is not None
        yield Waiting(site=site, model=model, approval_id=asked.approval.approval_id, inspector=superuser_connection)


async def at_level(owner: Connection, level: int) -> None:
    """From now on the organization's level, whatever its people's own range."""
    await owner.execute("UPDATE memberships SET autonomy_ceiling = 3")
    await owner.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', $2, $3, clock_timestamp())",
        FIRM_A.organization_id,
        level,
        FIRM_A.id("partner"),
    )


# Tokens at REST -------------------------------------------------------------------------------------------------------

Way = Callable[[Waiting, str], tuple[str, Json]]
"""From the question and the answer to path and body."""

WAYS: dict[str, Way] = {
    "the decision's route": lambda waiting, answer: (waiting.path, {"decision": answer, "comment": "as I was told"}),
    "the tool": lambda waiting, answer: ("/v1/tools/approval_decide/call", {"arguments": waiting.arguments(answer)}),
    "the tool, only tried": lambda waiting, answer: (
        "/v1/tools/approval_decide/call",
        {"arguments": waiting.arguments(answer), "dry_run": True},
    ),
}
# What each credential that is no person's own hand is told, and by which rule the record says so.
AGENTS: tuple[tuple[Audience, str, str, str], ...] = (
    ("mcp", "employee", "wrong_audience", "wrong_audience"),
    ("mcp", "partner", "wrong_audience", "wrong_audience"),
    ("service", "employee", "denied", "agent_may_not"),
    ("service", "partner", "denied", "agent_may_not"),
    ("api", "service", "denied", "agent_may_not"),
    ("service", "service", "denied", "agent_may_not"),
)


@pytest.mark.parametrize(("way", "answer"), list(product(WAYS, ANSWERS)))
async def test_no_agents_token_decides_at_rest(waiting: Waiting, way: str, answer: str) -> None:
    for audience, who, code, reason in AGENTS:
        await assert_refused(waiting, audience, who, WAYS[way](waiting, answer), code, reason)
    tries = await waiting.tries()
    assert [(one["outcome"], one["decision"], one["door"]) for one in tries] == [("denied", "deny", "rest")] * len(
        AGENTS
    )
    assert {one["mode"] for one in tries} == {"agent"}


async def assert_refused(
    waiting: Waiting, audience: Audience, who: str, asked: tuple[str, Json], code: str, reason: str
) -> None:
    path, body = asked
    async with waiting.client(audience, who) as client:
        answer = await client.post(path, json=body)
    problem = cast(Json, answer.json())
    assert (answer.status_code, problem["code"], problem["outcome"]) == (403, code, "denied"), problem
    last = (await waiting.tries())[-1]
    assert (str(last["call_id"]), last["principal_id"]) == (problem["call_id"], FIRM_A.id(who))
    assert (last["kind"], reason in last["reasons"]) == ("tool.denied", True), last
    await waiting.assert_still_waiting()


async def test_a_widgets_token_opens_no_tool_by_its_name_and_is_recorded(waiting: Waiting) -> None:
    asked = WAYS["the tool"](waiting, "approve")
    await assert_refused(waiting, "widget", "employee", asked, "wrong_audience", "wrong_audience")


async def test_a_widgets_token_of_a_service_account_is_no_hand(waiting: Waiting) -> None:
    asked = WAYS["the decision's route"](waiting, "approve")
    await assert_refused(waiting, "widget", "service", asked, "denied", "agent_may_not")


async def test_every_act_that_takes_a_hand_is_refused_to_a_token_for_mcp(waiting: Waiting) -> None:
    tools = [tool.manifest for tool in waiting.site.hub.rules.registry.all()]
    assert "approval_decide" in [manifest.name for manifest in tools if manifest.person_only]
    async with waiting.client("mcp", "partner") as client:
        for manifest in tools:
            answer = await client.post(f"/v1/tools/{manifest.name}/call", json={"arguments": waiting.arguments()})
            assert (answer.status_code, answer.json()["code"]) == (403, "wrong_audience"), manifest.name
    recorded = await waiting.inspector.fetch("SELECT tool FROM activity_events WHERE 'wrong_audience' = ANY (reasons)")
    assert sorted(row["tool"] for row in recorded) == [manifest.name for manifest in tools]


async def test_a_token_for_mcp_opens_no_route_but_its_own(waiting: Waiting) -> None:
    async with waiting.client("mcp", "partner") as client:
        paths = cast("dict[str, dict[str, Json]]", (await client.get("/openapi.json")).json()["paths"])
        routes = [(method, path) for path in paths for method in paths[path] if path.startswith("/v1/")]
        assert ("post", "/v1/approvals/{approval_id}/decision") in routes
        # What hands out a file is asked by whoever has the link, with no token at all.
        routes.remove(("get", "/v1/downloads"))
        for method, path in routes:
            answer = await client.request(method, path_of(path), json={} if method in ("post", "patch") else None)
            assert (answer.status_code, answer.json()["code"]) == (403, "wrong_audience"), (method, path)
    await waiting.assert_still_waiting()


@pytest.mark.parametrize(
    ("method", "path", "tool"),
    [("POST", "/v1/sign-offs", "signoff_record"), ("PUT", "/v1/autonomy/settings", "autonomy_set")],
)
async def test_a_token_for_mcp_that_signs_or_sets_leaves_a_denied_call(
    waiting: Waiting, method: str, path: str, tool: str
) -> None:
    async with waiting.client("mcp", "partner") as client:
        answer = await client.request(method, path, json={})
    assert (answer.status_code, answer.json()["code"], answer.json()["outcome"]) == (403, "wrong_audience", "denied")
    recorded = "SELECT tool, outcome, reasons FROM activity_events WHERE call_id = $1"
    row = await waiting.inspector.fetchrow(recorded, UUID(answer.json()["call_id"]))
    assert row is not None
    assert (row["tool"], row["outcome"], row["reasons"]) == (tool, "denied", ["wrong_audience"])


def path_of(template: str) -> str:
    """The path with an id wherever it takes one."""
    words = {"{report}": "tool_use", "{name}": "task_list"}
    for place, word in words.items():
        template = template.replace(place, word)
    return "/".join(str(uuid4()) if part.startswith("{") else part for part in template.split("/"))


async def test_a_token_of_two_audiences_is_none(waiting: Waiting) -> None:
    claims = jwt.decode(waiting.site.token_of("employee", "api"), options={"verify_signature": False})
    secret = settings_of_tests().signing_secret().get_secret_value()
    for pair in permutations(AUDIENCES, 2):
        both = jwt.encode({**claims, "aud": list(pair)}, secret, algorithm=ALGORITHM)
        async with httpx.AsyncClient(base_url=waiting.site.url, headers={"Authorization": f"Bearer {both}"}) as client:
            assert (await client.post(waiting.path, json={"decision": "approve"})).status_code == 401, pair
            assert (await client.post("/mcp", json={})).status_code == 401, pair
    await waiting.assert_still_waiting()


# MCP ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS)
async def test_at_mcp_no_act_for_a_hand_is_listed_and_calling_one_is_denied_and_recorded(
    waiting: Waiting, revision: str
) -> None:
    hidden = [tool.manifest.name for tool in waiting.site.hub.rules.registry.all() if "mcp" not in tool.manifest.doors]
    assert "approval_decide" in hidden
    async with mcp_client(waiting.site.url, waiting.site.token_of("partner", "mcp"), revision) as client:
        assert not {tool.name for tool in (await client.list_tools()).tools} & set(hidden)
        for answer in ANSWERS:
            result = await client.call_tool("approval_decide", waiting.arguments(answer))
            body = cast(Json, result.structured_content)
            assert (result.is_error, body["outcome"]) == (True, "denied")
            assert set(body["verdict"]["reasons"]) >= {"agent_may_not", "door_not_offered"}
    tries = await waiting.tries()
    assert [(one["kind"], one["door"], one["mode"]) for one in tries] == [("tool.denied", "mcp", "agent")] * 2
    await waiting.assert_still_waiting()


@pytest.mark.parametrize("audience", ["api", "service", "widget"])
async def test_no_other_token_opens_mcp(waiting: Waiting, audience: Audience) -> None:
    async with waiting.client(audience, "partner") as client:
        answer = await client.post("/mcp", json={})
    assert answer.status_code == 401


async def test_an_mcp_client_cannot_wait_for_a_call_and_decide_it_by_calling_it_again(waiting: Waiting) -> None:
    async with mcp_client(waiting.site.url, waiting.site.token_of("employee", "mcp"), "auto") as client:
        asked = cast(Json, (await client.call_tool("task_create", TASK)).structured_content)
        assert asked["outcome"] == "waiting"
        assert asked["approval"]["url"] == f"{PUBLIC_URL}/#approval={asked['approval']['id']}"
        with_more = {**TASK, "approval_id": asked["approval"]["id"], "decision": "approve"}
        assert cast(Json, (await client.call_tool("task_create", with_more)).structured_content)["outcome"] == "invalid"
        with pytest.raises(MCPError):
            await client.call_tool("approvals/decide", waiting.arguments())
    await waiting.assert_still_waiting()


# Chat -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("audience", "who"), list(product(("api", "service", "widget"), ("employee", "partner"))))
async def test_a_model_that_asks_to_decide_is_denied_whosoever_speaks_to_it(
    waiting: Waiting, audience: Audience, who: str
) -> None:
    calls = [["approval_decide", waiting.arguments(answer)] for answer in ANSWERS]
    async with waiting.client(audience, who) as client:
        answer = (await client.post("/v1/chat", json={"message": json.dumps(calls)})).json()
    assert [call["outcome"] for call in answer["tool_calls"]] == ["denied", "denied"]
    assert {tool.name for tool in waiting.model.requests[0].tools} & {"task_create"}
    assert not [tool for tool in waiting.model.requests[0].tools if tool.name == "approval_decide"]
    door = "widget" if audience == "widget" else "chat"
    tries = await waiting.tries()
    assert [(one["kind"], one["door"], one["mode"]) for one in tries] == [("tool.denied", door, "agent")] * 2
    assert all("agent_may_not" in one["reasons"] for one in tries)
    await waiting.assert_still_waiting()


# The gate itself ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
async def test_at_no_door_does_an_agent_get_past_the_gate(
    waiting: Waiting, owner_connection: Connection, dry_run: bool
) -> None:
    await at_level(owner_connection, 3)
    agents = [principal_of(who=who, door=door) for who, door in product(("employee", "partner", "service"), DOORS)]
    for agent in agents:
        request = CallRequest(
            call_id=CallId(uuid4()), tool="approval_decide", arguments=waiting.arguments(), dry_run=dry_run
        )
        ended = await waiting.site.hub.gate.call(request, agent)
        assert ended.outcome == "denied", agent
    assert [one["kind"] for one in await waiting.tries()] == ["tool.denied"] * len(agents)
    await waiting.assert_still_waiting()


# That nothing but the mode was in the way -----------------------------------------------------------------------------


async def test_a_policy_without_its_rule_for_hands_is_noticed(
    waiting: Waiting, owner_connection: Connection, tmp_path: Path
) -> None:
    await at_level(owner_connection, 3)
    lax = policies_of(tmp_path, without_rule(shipped_files(), "agent_may_not"))
    asked = WAYS["the decision's route"](waiting, "approve")
    await assert_refused(waiting, "service", "employee", asked, "denied", "agent_may_not")
    async with mutated(waiting.site.hub, lambda hub: gate_with(hub, lax)) as hub, serving(hub) as site:
        changed = replace(waiting, site=site)
        with pytest.raises(KeyError, match="code"):
            await assert_refused(changed, "service", "employee", asked, "denied", "agent_may_not")


@pytest.mark.parametrize("audience", ["api", "widget"])
async def test_the_same_answer_by_the_persons_own_hand_is_taken(waiting: Waiting, audience: Audience) -> None:
    async with waiting.client(audience, "employee") as client:
        answer = await client.post(waiting.path, json={"decision": "approve"})
    assert (answer.status_code, answer.json()["state"], answer.json()["call"]["outcome"]) == (200, "executed", "done")
    assert await waiting.inspector.fetchval("SELECT count(*) FROM tasks WHERE title = $1", TASK["title"]) == 1
