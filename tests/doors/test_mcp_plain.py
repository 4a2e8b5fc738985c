"""The short way of a usual call answers what the SDK would have answered, and takes nothing that is unusual."""

import copy
from collections.abc import AsyncIterator, Callable, Iterator
from typing import cast

import pytest
import pytest_asyncio

from server.database.embedded import EmbeddedServer
from server.mcp.plain import plain_call
from tests.support.database import Database
from tests.support.mcp_wire import MODERN, Json, modern, modern_headers, post
from tests.support.served import Served, firms_database, served

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]

META = "io.modelcontextprotocol/"
BY_THE_SDK = {"Accept": "application/json;q=1, text/event-stream"}
"""Means the same, but is not what clients usually write."""
Headers = list[tuple[bytes, bytes]]


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with firms_database(cluster, template) as database:
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database) -> AsyncIterator[Served]:
    async with served(firms) as running:
        yield running


CALLS: dict[str, tuple[str, str, Json]] = {
    "done": ("employee", "task_list", {"limit": 2}),
    "done without arguments": ("employee", "task_list", {}),
    "written": ("employee", "task_create", {"title": "Büro, 5 €, \U0001f9fe"}),
    "denied": ("client", "autonomy_set", {"scope": "organization", "level": "L0"}),
    "waiting": ("partner", "autonomy_set", {"scope": "organization", "level": "L3"}),
    "invalid arguments": ("employee", "task_list", {"limit": "many"}),
    "not found": ("employee", "task_get", {"task_id": "0b9a1a52-6d3c-4f6e-9c52-0e3c6f6f2b10"}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_the_short_way_answers_like_the_sdk(server: Served, call: tuple[str, str, Json]) -> None:
    who, tool, arguments = call
    body = modern("tools/call", {"name": tool, "arguments": arguments})
    headers = modern_headers(server.token(who, "mcp"), "tools/call", tool)
    assert plain_call(scope_of(headers), body) is not None
    assert plain_call(scope_of(headers | BY_THE_SDK), body) is None
    short, long = await post(server, body, headers), await post(server, body, headers | BY_THE_SDK)
    assert short.status_code == long.status_code == 200
    assert unlike(short.headers) == unlike(long.headers)
    assert without_what_differs(short.json()) == without_what_differs(long.json())
    assert list(short.json()["result"]["structuredContent"]) == list(long.json()["result"]["structuredContent"])


async def test_the_short_way_asks_like_the_sdk_where_a_client_shows_pages(server: Served) -> None:
    body = modern("tools/call", {"name": "task_create", "arguments": {"title": "Ask first"}})
    body["params"]["_meta"][f"{META}clientCapabilities"] = {"elicitation": {"url": {}}}
    headers = modern_headers(server.token("MANAGER", "mcp"), "tools/call", "task_create")
    plain = plain_call(scope_of(headers), body)
    assert plain is not None
    assert plain.shows_pages
    short, long = await post(server, body, headers), await post(server, body, headers | BY_THE_SDK)
    assert short.status_code == long.status_code == 200
    assert unlike(short.headers) == unlike(long.headers)
    results = [answer.json()["result"] for answer in (short, long)]
    states = {result.pop("requestState") for result in results}
    pages = {result["inputRequests"]["approval"]["params"].pop("url") for result in results}
    assert (len(states), len(pages)) == (2, 2)
    assert results[0] == results[1]
    assert results[0]["resultType"] == "input_required"


async def test_an_id_that_is_text_comes_back_as_it_was(server: Served) -> None:
    body = modern("tools/call", {"name": "task_list", "arguments": {}}) | {"id": "seven é"}
    answer = await post(server, body, modern_headers(server.token("employee", "mcp"), "tools/call", "task_list"))
    assert answer.json()["id"] == "seven é"


async def test_a_tool_that_there_is_not_is_the_protocols_to_refuse(server: Served) -> None:
    body = modern("tools/call", {"name": "no_such_tool", "arguments": {}})
    answer = await post(server, body, modern_headers(server.token("employee", "mcp"), "tools/call", "no_such_tool"))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32602


def unlike(headers: object) -> dict[str, str]:
    """The headers that both ways must give alike."""
    own = {"x-request-id", "date", "content-length"}
    return {name: value for name, value in cast("dict[str, str]", headers).items() if name not in own}


def without_what_differs(answer: Json) -> Json:
    """The answer without what two calls cannot have alike: ids and times."""
    found = copy.deepcopy(answer)
    result = found["result"]
    assert result["content"][0]["type"] == "text"
    del result["content"]
    return cast(Json, _blank(found))


def _blank(value: object) -> object:
    if isinstance(value, dict):
        members = cast(Json, value)
        return {name: "..." if _differs(name) else _blank(member) for name, member in members.items()}
    return [_blank(member) for member in cast("list[object]", value)] if isinstance(value, list) else value


def _differs(name: str) -> bool:
    return name != "id" and (name.endswith(("_id", "_at")) or name in {"url", "approval", "items"})


def scope_of(headers: dict[str, str]) -> dict[str, object]:
    """The scope of a request with these headers."""
    return {"headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()]}


USUAL_HEADERS = modern_headers("token", "tools/call", "task_list")


def _call() -> Json:
    return modern("tools/call", {"name": "task_list", "arguments": {"limit": 1}})


def _within(part: str, **members: object) -> Callable[[Json], Json]:
    def changed(body: Json) -> Json:
        target = body if part == "body" else body["params"] if part == "params" else body["params"]["_meta"]
        target.update(members)
        return body

    return changed


UNUSUAL_BODIES: dict[str, Callable[[Json], object]] = {
    "a batch": lambda body: [body],
    "text": lambda _: "tools/call",
    "another version of JSON-RPC": _within("body", jsonrpc="1.0"),
    "another method": _within("body", method="tools/list"),
    "no id": lambda body: {name: value for name, value in body.items() if name != "id"},
    "an id that is null": _within("body", id=None),
    "an id that is true": _within("body", id=True),
    "an id that is a fraction": _within("body", id=1.5),
    "an id beyond what numbers hold": _within("body", id=2**60),
    "another member": _within("body", more=1),
    "no params": _within("body", params=None),
    "params that are a list": _within("body", params=[]),
    "a name that is a number": _within("params", name=7),
    "arguments that are none": _within("params", arguments=None),
    "arguments that are a list": _within("params", arguments=[1]),
    "a state brought back": _within("params", requestState="x"),
    "answers to questions": _within("params", inputResponses={}),
    "an envelope that is text": _within("params", _meta="x"),
    "another revision inside": _within("meta", **{f"{META}protocolVersion": "2025-11-25"}),
    "capabilities that are text": _within("meta", **{f"{META}clientCapabilities": "all"}),
    "a client without a name": _within("meta", **{f"{META}clientInfo": {"version": "1"}}),
    "a wish to hear of progress": _within("meta", progressToken=1),
    "a trace": _within("meta", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "a long envelope": _within("meta", **{f"{META}clientInfo": {"name": "x" * 3000, "version": "1"}}),
    "an integer beyond 64 bits in the envelope": _within("meta", **{f"{META}clientCapabilities": {"x": 2**70}}),
}


@pytest.mark.parametrize("change", UNUSUAL_BODIES.values(), ids=UNUSUAL_BODIES.keys())
async def test_an_unusual_body_is_left_to_the_sdk(change: Callable[[Json], object]) -> None:
    assert plain_call(scope_of(USUAL_HEADERS), _call()) is not None
    assert plain_call(scope_of(USUAL_HEADERS), change(_call())) is None


UNUSUAL_HEADERS: dict[str, dict[str, str | None]] = {
    "no revision": {"MCP-Protocol-Version": None},
    "an older revision": {"MCP-Protocol-Version": "2025-11-25"},
    "no method": {"Mcp-Method": None},
    "another method": {"Mcp-Method": "tools/list"},
    "no name": {"Mcp-Name": None},
    "another name": {"Mcp-Name": "task_create"},
    "a name in base64": {"Mcp-Name": "=?base64?dGFza19saXN0?="},
    "an argument repeated": {"Mcp-Param-Limit": "1"},
    "events only": {"Accept": "text/event-stream"},
    "anything accepted by weight": {"Accept": "application/json;q=0"},
    "text": {"Content-Type": "text/plain"},
    "no kind of content": {"Content-Type": None},
}


@pytest.mark.parametrize("change", UNUSUAL_HEADERS.values(), ids=UNUSUAL_HEADERS.keys())
async def test_unusual_headers_are_left_to_the_sdk(change: dict[str, str | None]) -> None:
    headers = {name: value for name, value in (USUAL_HEADERS | change).items() if value is not None}
    assert plain_call(scope_of(headers), _call()) is None


async def test_a_header_sent_twice_is_left_to_the_sdk() -> None:
    scope = scope_of(USUAL_HEADERS)
    for name in (b"mcp-protocol-version", b"mcp-method", b"mcp-name"):
        twice = [*cast(Headers, scope["headers"]), (name, MODERN.encode())]
        assert plain_call({"headers": twice}, _call()) is None
