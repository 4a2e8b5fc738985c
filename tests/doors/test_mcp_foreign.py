"""Clients that others wrote list and call every tool: the TypeScript SDK of both generations, and MCP Inspector's CLI.

The tools and the roles that see them come from the manifests, the arguments from the table of the parity suite, so that
a tool without an example there turns this red.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jsonschema_rs
import pytest
import pytest_asyncio

from domain.kernel import Level, PrincipalId, Role
from domain.resources import resource_folder
from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.logins import Login
from tests.support.database import Database, fresh_database, run_apart
from tests.support.node import Ran, needs_packages, run_node
from tests.support.parity import ACTS, Cell, Who, expected
from tests.support.parity_world import CASES, TITLE, Case, seed_world
from tests.support.served import Served, served
from tools.manifest_files import load_manifests

pytestmark = [needs_packages, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

Json = dict[str, Any]
SLUG = "firm-1"
MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
MANIFESTS = {each.name: each for each in load_manifests(resource_folder("manifests")) if "mcp" in each.doors}
FOR_MCP = [case for case in CASES if case.tool in MANIFESTS]
INVALID_PARAMS = -32602


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """One generation of the SDK, and how it is told to agree on a revision."""

    generation: int
    mode: object
    revision: str

    def __str__(self) -> str:
        return f"typescript v{self.generation} {self.mode if isinstance(self.mode, str) else 'pinned'}"


SETTLED = (
    Sdk(generation=2, mode={"pin": MODERN}, revision=MODERN),
    Sdk(generation=2, mode="legacy", revision=HANDSHAKE),
    Sdk(generation=1, mode="legacy", revision=HANDSHAKE),
)
SDKS = (*SETTLED, Sdk(generation=2, mode="auto", revision=MODERN))
INSPECTOR = "inspector"
IN_THE_END: Mapping[str, set[str]] = {
    "read": {"done"},
    "prepare": {"done"},
    "commit": {"done"},
    "irreversible": {"waiting"},
}
"""How each tool of an effect must have ended for somebody: what is held to the schemas is more than refusals."""
EVERY_ROLE = tuple(Who(role=role, level=Level.L1) for role in Role)
AUTOPILOT = Who(role=Role.PARTNER, level=Level.L3)
"""Whose agent may call every tool of this door, most of them without asking."""


@pytest.fixture(scope="module")
def world(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with fresh_database(cluster, template) as database:
        run_apart(_seeded(database))
        yield database


async def _seeded(database: Database) -> None:
    async with connected(database.dsn(Login.OWNER)) as owner:
        await seed_world(owner, [INSPECTOR, *(str(sdk) for sdk in SDKS)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(world: Database) -> AsyncIterator[Served]:
    async with served(world) as running:
        yield running


def token_of(server: Served, who: Who) -> str:
    return server.token_of(PrincipalId(who.id), SLUG, "mcp")


async def told_by(
    sdk: Sdk, server: Served, home: Path, sessions: Sequence[tuple[str, Sequence[tuple[str, object]]]]
) -> list[Json]:
    """What a client of the SDK was told in each session of a token and calls: revision, tools, answers to the calls."""
    asked = {
        "generation": sdk.generation,
        "mode": sdk.mode,
        "url": f"{server.url}/mcp",
        "sessions": [{"token": token, "calls": calls} for token, calls in sessions],
    }
    ran = await run_node(["calls.mjs"], given=asked, home=home)
    assert ran.code == 0, ran.err
    return cast("list[Json]", ran.json())


def cell_of(role: Role) -> Cell:
    """Where the calls of such a member come from."""
    is_person = role is not Role.SERVICE_ACCOUNT
    return Cell(door="mcp", kind="person" if is_person else "service_account", mode="agent", attended=is_person)


def seen_by(role: Role) -> set[str]:
    """The tools that a role may call here, by contract.md's table."""

    def may(tool: str) -> bool:
        decisions = [expected(ACTS[tool], cell_of(role), role, Level.L3, client_own=own) for own in (True, None)]
        return decisions != ["deny", "deny"]

    return {tool for tool in MANIFESTS if may(tool)}


def examples(case: Case, entrance: str) -> Json:
    """The arguments of a case, as the partner whose agent may do everything gives them."""
    return case.arguments(AUTOPILOT, entrance)


def envelope_of(result: Json, listed: Mapping[str, Json], tool: str) -> Json:
    """The envelope of a result, which stands in it twice and keeps to the schema that was listed."""
    assert "structuredContent" in result, f"{tool}: {result}"
    envelope = cast(Json, result["structuredContent"])
    (content,) = result["content"]
    assert json.loads(content["text"]) == envelope
    if tool in listed:
        jsonschema_rs.validator_for(listed[tool]["outputSchema"]).validate(envelope)
    assert bool(result.get("isError")) == (envelope["outcome"] not in ("done", "waiting")), envelope
    return envelope


def wrong(tool: str) -> list[Json]:
    """Arguments that the tool's schema forbids: one too many, one of another type each, and none where some must be."""
    schema = MANIFESTS[tool].arguments
    properties = cast("dict[str, Json]", schema.get("properties", {}))
    given = examples(next(case for case in FOR_MCP if case.tool == tool and not case.malformed), INSPECTOR)
    odd = [{**given, "spare": 1}, *({**given, name: [{"no": "such"}]} for name in properties)]
    return [*odd, {}] if schema.get("required") else odd


async def test_every_tool_of_this_door_has_an_example() -> None:
    assert {case.tool for case in FOR_MCP if not case.malformed} == set(MANIFESTS)


@pytest.mark.parametrize("sdk", SETTLED, ids=str)
async def test_typescript_client_lists_and_calls_every_tool_that_its_role_sees(
    server: Served, tmp_path: Path, sdk: Sdk
) -> None:
    whos = (*EVERY_ROLE, AUTOPILOT)
    tried = [[(case.tool, case.arguments(who, str(sdk))) for case in FOR_MCP] for who in whos]
    told = await told_by(sdk, server, tmp_path, list(zip([token_of(server, who) for who in whos], tried, strict=True)))
    ended: dict[str, set[str]] = defaultdict(set)
    for who, session in zip(whos, told, strict=True):
        listed = {tool["name"]: tool for tool in session["tools"]}
        assert (session["revision"], listed.keys()) == (sdk.revision, seen_by(who.role)), who
        for case, result in zip(FOR_MCP, session["answers"], strict=True):
            envelope = envelope_of(result, listed, case.tool)
            _assert_told(case, who, envelope, server)
            ended[case.tool].add(envelope["outcome"])
    wanting = {tool: outcomes for tool, outcomes in ended.items() if not outcomes >= IN_THE_END[ACTS[tool].effect]}
    assert wanting == {}


def _assert_told(case: Case, who: Who, envelope: Json, server: Served) -> None:
    """That the client was told what domain.md says of the call."""
    decision = case.expected(cell_of(who.role), who)
    about = f"{case.name} by {who.role}: {envelope}"
    assert (None if "verdict" not in envelope else envelope["verdict"]["decision"]) == decision, about
    match decision:
        case None:
            assert envelope["outcome"] == "invalid", about
        case "deny":
            assert envelope["outcome"] == "denied", about
        case "needs_approval":
            assert envelope["outcome"] == "waiting", about
            approval = envelope["approval"]
            assert approval["url"] == f"{server.url}/#approval={approval['id']}", about
        case "allow":
            assert envelope["outcome"] in ("done", "invalid"), about


@pytest.mark.parametrize("sdk", SETTLED, ids=str)
async def test_typescript_client_is_told_of_arguments_that_a_schema_forbids(
    server: Served, tmp_path: Path, sdk: Sdk
) -> None:
    calls = [(tool, arguments) for tool in MANIFESTS for arguments in wrong(tool)]
    (told,) = await told_by(sdk, server, tmp_path, [(token_of(server, AUTOPILOT), calls)])
    listed = {tool["name"]: tool for tool in told["tools"]}
    for (tool, arguments), result in zip(calls, told["answers"], strict=True):
        envelope = envelope_of(result, listed, tool)
        assert envelope["outcome"] == "invalid", (tool, arguments, envelope)
        assert envelope["error"]["details"], (tool, arguments)


@pytest.mark.parametrize("sdk", SDKS, ids=str)
async def test_typescript_client_is_told_that_a_name_is_no_tool_and_a_token_no_key(
    server: Served, tmp_path: Path, sdk: Sdk
) -> None:
    elsewhere = server.token_of(PrincipalId(AUTOPILOT.id), SLUG, "api")
    calls = [("no_such_tool", TITLE)]
    sessions = [(token_of(server, AUTOPILOT), calls), (elsewhere, calls), ("nonsense", calls)]
    unknown, *refused = await told_by(sdk, server, tmp_path, sessions)
    assert unknown["revision"] == sdk.revision
    (answer,) = unknown["answers"]
    assert answer["error"]["code"] == INVALID_PARAMS, answer
    assert "call_id" in answer["error"]["data"], answer
    for told in refused:
        assert told["refused"]["code"] in (401, "ERR_HTTP_401") or "401" in json.dumps(told), told


# MCP Inspector --------------------------------------------------------------------------------------------------------

ERAS = ("modern", "legacy")
COMMAND = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
AT_ONCE = asyncio.Semaphore(2)
"""Each run is a process of its own, of about a second of CPU."""


async def inspected(server: Served, home: Path, era: str, *arguments: str, token: str | None = None) -> Ran:
    """One run of `mcp-inspector --cli`."""
    target = ("--cli", "--server-url", f"{server.url}/mcp", "--transport", "http", "--protocol-era", era)
    signed = ("--header", f"Authorization: Bearer {token or token_of(server, AUTOPILOT)}")
    async with AT_ONCE:
        return await run_node([COMMAND, *target, *signed, "--format", "json", *arguments], home=home)


async def called(server: Served, home: Path, era: str, tool: str, arguments: Json) -> Ran:
    """One tool called by Inspector."""
    given = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
    return await inspected(server, home, era, "--method", "tools/call", *given)


@pytest.mark.parametrize("era", ERAS)
async def test_inspector_lists_the_tools_and_finds_their_schemas_portable(
    server: Served, tmp_path: Path, era: str
) -> None:
    ran = await inspected(server, tmp_path, era, "--method", "tools/list", "--strict")
    assert ran.code == 0, ran.err
    assert {tool["name"] for tool in ran.json()["result"]["tools"]} == set(MANIFESTS)


@pytest.mark.parametrize("era", ERAS)
async def test_inspector_calls_every_tool_with_what_it_takes_and_with_what_it_does_not(
    server: Served, tmp_path: Path, era: str
) -> None:
    ran = await inspected(server, tmp_path, era, "--method", "tools/list")
    listed = {each["name"]: each for each in ran.json()["result"]["tools"]}
    # One process a call: the modern era tries what is taken, the older one what is not.
    taken = {case.tool: examples(case, INSPECTOR) for case in reversed(FOR_MCP) if not case.malformed}
    tried = taken if era == "modern" else {tool: wrong(tool)[0] for tool in MANIFESTS}
    assert tried.keys() == MANIFESTS.keys()
    answers = await asyncio.gather(*(called(server, tmp_path, era, *each) for each in tried.items()))
    for tool, each in zip(tried, answers, strict=True):
        envelope = envelope_of(each.json()["result"], listed, tool)
        wanted = ("done", "waiting") if era == "modern" else ("invalid",)
        assert envelope["outcome"] in wanted, (tool, envelope)


async def test_inspector_is_told_that_a_name_is_no_tool_and_a_token_no_key(server: Served, tmp_path: Path) -> None:
    unknown, stranger = await asyncio.gather(
        called(server, tmp_path, "modern", "no_such_tool", {}),
        inspected(server, tmp_path, "modern", "--method", "tools/list", token="nonsense"),
    )
    # It looks the name up in the list by itself.
    assert (unknown.code, json.loads(unknown.err)["error"]["code"]) == (5, "tool_not_found")
    assert (stranger.code, stranger.out, json.loads(stranger.err)["error"]["code"]) == (3, "", "auth_required")


# Pages ----------------------------------------------------------------------------------------------------------------

ASKING = Who(role=Role.MANAGER, level=Level.L1)
"""Whose agent may do nothing without asking."""


@pytest.mark.parametrize("sdk", SETTLED, ids=str)
async def test_typescript_client_that_shows_pages_has_a_person_decide_there(
    server: Served, tmp_path: Path, sdk: Sdk
) -> None:
    given = {
        "generation": sdk.generation,
        "mode": sdk.mode,
        "url": server.url,
        "token": token_of(server, ASKING),
        "decider": server.token_of(PrincipalId(AUTOPILOT.id), SLUG, "api"),
        "tool": "task_create",
        "calls": [({"title": f"By a page, {sdk}"}, "accept"), ({"title": f"By no page, {sdk}"}, "decline")],
    }
    ran = await run_node(["asking.mjs"], given=given, home=tmp_path)
    assert ran.code == 0, ran.err
    told = cast(Json, ran.json())
    assert (told["revision"], [page["mode"] for page in told["asked"]]) == (sdk.revision, ["url", "url"])
    assert all(page["url"].startswith(f"{server.url}/#approval=") for page in told["asked"])
    outcomes = [envelope_of(result, {}, "task_create")["outcome"] for result in told["results"]]
    assert outcomes == ["done", "waiting"]
