"""The MCP door below its protocol: credentials, hosts, revisions and odd bodies."""

from collections.abc import AsyncIterator, Iterator
from typing import get_args
from uuid import UUID

import httpx2
import jwt
import pytest
import pytest_asyncio

from domain.kernel import PrincipalId
from server.database.embedded import EmbeddedServer
from server.tokens import Audience
from tests.support.database import Database
from tests.support.firms import FIRM_A
from tests.support.mcp_wire import MODERN, Json, headers_of, modern, modern_headers, post, rpc
from tests.support.served import Served, firms_database, served

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]

HANDSHAKES = ("2025-11-25", "2025-06-18")


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with firms_database(cluster, template) as database:
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database) -> AsyncIterator[Served]:
    async with served(firms) as running:
        yield running


async def test_request_without_a_token_is_told_where_to_look_and_accused_of_nothing(server: Served) -> None:
    answer = await post(server, rpc("tools/list"), headers_of(None))
    assert answer.status_code == 401
    metadata = f"{server.url}/.well-known/oauth-protected-resource/mcp"
    assert answer.headers["www-authenticate"] == f'Bearer resource_metadata="{metadata}"'
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("audience", sorted(set(get_args(Audience)) - {"mcp"}))
async def test_token_of_another_audience_opens_nothing(server: Served, audience: Audience) -> None:
    answer = await post(server, rpc("tools/list"), headers_of(server.token("partner", audience)))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token", resource_metadata="')


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "x" * 9000])
async def test_token_that_is_none_is_invalid(server: Served, token: str) -> None:
    answer = await post(server, rpc("tools/list"), headers_of(token))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_address_of_the_door_counts_as_its_audience(server: Served) -> None:
    claims = {"iss": "glow", "sub": str(FIRM_A.id("employee")), "aud": f"{server.url}/mcp", "exp": 4_000_000_000}
    token = jwt.encode({**claims, "org": "firm-1"}, server.hub.settings.signing_secret().get_secret_value())
    assert (await post(server, rpc("tools/list"), headers_of(token))).status_code == 200


async def test_token_of_somebody_who_left_opens_nothing(server: Served) -> None:
    stranger = server.token_of(PrincipalId(UUID(int=5)), "firm-1", "mcp")
    answer = await post(server, rpc("tools/list"), headers_of(stranger))
    assert (answer.status_code, answer.json()["code"]) == (403, "not_a_member")


async def test_no_mcp_token_opens_another_route(server: Served) -> None:
    async with httpx2.AsyncClient() as http:
        for path in ("/v1/me", "/v1/tasks", "/v1/approvals", "/v1/activity"):
            answer = await http.get(server.url + path, headers=headers_of(server.token("partner", "mcp")))
            assert (answer.status_code, answer.json()["code"]) == (403, "wrong_audience")


@pytest.mark.parametrize("path", ["", "/mcp"])
async def test_metadata_names_the_resource_and_no_authorization_server(server: Served, path: str) -> None:
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"{server.url}/.well-known/oauth-protected-resource{path}")
    assert answer.status_code == 200
    assert answer.json() == {
        "resource": f"{server.url}/mcp",
        "resource_name": "Prisma Glow",
        "bearer_methods_supported": ["header"],
    }


@pytest.mark.parametrize(
    ("header", "value", "status"), [("Host", "evil.example", 421), ("Origin", "https://evil.example", 403)]
)
async def test_request_of_another_host_or_origin_is_refused_before_its_token_is_read(
    server: Served, header: str, value: str, status: int
) -> None:
    answer = await post(server, rpc("tools/list"), {**headers_of(server.token("employee", "mcp")), header: value})
    assert (answer.status_code, answer.json()["code"]) == (status, "wrong_host")


@pytest.mark.parametrize("revision", HANDSHAKES)
async def test_older_revision_is_served_by_its_handshake(server: Served, revision: str) -> None:
    token = server.token("employee", "mcp")
    hello = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    greeted = await post(server, rpc("initialize", hello), headers_of(token))
    assert greeted.status_code == 200
    assert greeted.headers["content-type"] == "application/json"
    assert greeted.json()["result"]["protocolVersion"] == revision
    assert greeted.json()["result"]["serverInfo"]["name"] == "prisma-glow"
    assert "mcp-session-id" not in greeted.headers
    noted = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await post(server, noted, headers_of(token, revision))).status_code == 202
    called = await post(server, rpc("tools/call", {"name": "task_list"}), headers_of(token, revision))
    assert called.json()["result"]["structuredContent"]["outcome"] == "done"


async def test_modern_revision_needs_no_handshake(server: Served) -> None:
    token = server.token("employee", "mcp")
    found = await post(server, modern("server/discover"), modern_headers(token, "server/discover"))
    assert found.status_code == 200
    assert found.json()["result"]["supportedVersions"] == [MODERN]
    assert found.json()["result"]["cacheScope"] == "private"
    called = await post(
        server, modern("tools/call", {"name": "task_list"}), modern_headers(token, "tools/call", "task_list")
    )
    assert called.json()["result"]["structuredContent"]["outcome"] == "done"
    assert called.headers["cache-control"] == "no-store"


async def test_unknown_revision_is_told_which_there_are(server: Served) -> None:
    answer = await post(server, rpc("tools/list"), headers_of(server.token("employee", "mcp"), "2031-01-01"))
    assert answer.status_code == 400
    assert "error" in answer.json()


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_only_post_is_taken_since_there_is_no_session(server: Served, method: str) -> None:
    async with httpx2.AsyncClient() as http:
        headers = headers_of(server.token("employee", "mcp"))
        answer = await http.request(method, f"{server.url}/mcp", headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_address_answers_without_a_redirect(server: Served) -> None:
    answer = await post(server, rpc("tools/list"), headers_of(server.token("employee", "mcp")))
    assert (answer.status_code, answer.history) == (200, [])


async def test_state_that_this_server_did_not_seal_is_refused(server: Served) -> None:
    params: Json = {"name": "task_list", "arguments": {}, "requestState": "v1.forged"}
    headers = modern_headers(server.token("employee", "mcp"), "tools/call", "task_list")
    answer = await post(server, modern("tools/call", params), headers)
    assert answer.json()["error"]["code"] == -32602


DEEP = b"[" * 100_000 + b"]" * 100_000
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"task_list","arguments":%s}}'

ODD_BODIES: dict[str, tuple[bytes, set[int]]] = {
    "empty": (b"", {400}),
    "no JSON": (b"{", {400}),
    "NaN": (CALL % b'{"limit":NaN}', {400}),
    "1e999": (CALL % b'{"limit":1e999}', {400}),
    "lone surrogate": (CALL % rb'{"status":"\ud800"}', {400}),
    "not UTF-8": (CALL % b'{"status":"\xff\xfe"}', {400}),
    "deep": (DEEP, {400}),
    "deep arguments": (CALL % (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"), {400}),
    "10 MB": (CALL % (b'{"status":"' + b"x" * 10_000_000 + b'"}'), {413}),
    "NUL": (CALL % rb'{"status":"\u0000"}', {200, 422}),
    "twice the same key": (b'{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"tools/list"}', {400}),
    "a batch": (b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', {400}),
    "a text": (b'"tools/list"', {400}),
    "a number": (b"3", {400}),
    "null": (b"null", {400}),
    "an empty object": (b"{}", {400}),
    "an answer": (b'{"jsonrpc":"2.0","id":1,"result":{}}', {202, 400}),
    "an id that is none": (b'{"jsonrpc":"2.0","id":{"a":1},"method":"tools/list"}', {400}),
    "an id that is null": (b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}', {400}),
    "a method that is none": (b'{"jsonrpc":"2.0","id":1,"method":5}', {400}),
    "params that are none": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"x"}', {400}),
    "arguments that are a list": (CALL % b"[1]", {200, 400}),
    "arguments that are a text": (CALL % b'"x"', {200, 400}),
    "a large integer": (CALL % (b'{"limit":' + b"9" * 400 + b"}"), {200, 400}),
    "no name": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}', {200, 400}),
    "a long name": (CALL.replace(b"task_list", b"x" * 100_000) % b"{}", {200, 400}),
    "a method of nobody's": (b'{"jsonrpc":"2.0","id":1,"method":"tools/dance"}', {200, 404}),
}


@pytest.mark.parametrize("revision", [None, "2025-11-25", MODERN, "nonsense"])
async def test_odd_bodies_are_refused_in_words_and_never_a_fault(server: Served, revision: str | None) -> None:
    headers = headers_of(server.token("employee", "mcp"), revision)
    for name, (body, expected) in ODD_BODIES.items():
        answer = await post(server, body, headers)
        assert answer.status_code in expected | {400}, (name, answer.status_code, answer.text[:200])
        if answer.status_code >= 400:
            assert answer.json()["error"]["code"] < 0, name
        if answer.headers.get("content-type") == "application/problem+json":
            assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("revision", [None, "2025-11-25", MODERN])
@pytest.mark.parametrize(
    "body",
    [b'"quince"', b'["quince"]', b'{"quince":1}', b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"quince"}'],
)
async def test_body_that_is_no_message_is_refused_without_repeating_it(
    server: Served, body: bytes, revision: str | None
) -> None:
    answer = await post(server, body, headers_of(server.token("employee", "mcp"), revision))
    assert (answer.status_code, answer.json()["code"], answer.json()["error"]["code"]) == (
        400,
        "invalid_request",
        -32600,
    )
    assert "quince" not in answer.text
    assert "input_value" not in answer.text


@pytest.mark.parametrize("arguments", [[1], "x", 3, True, []])
@pytest.mark.parametrize("revision", ["2025-11-25", MODERN])
async def test_arguments_that_are_no_object_are_invalid_and_recorded(
    server: Served, arguments: object, revision: str
) -> None:
    params: Json = {"name": "task_list", "arguments": arguments}
    token = server.token("employee", "mcp")
    if revision == MODERN:
        answer = await post(server, modern("tools/call", params), modern_headers(token, "tools/call", "task_list"))
    else:
        answer = await post(server, rpc("tools/call", params), headers_of(token, revision))
    result = answer.json()["result"]
    assert (result["isError"], result["structuredContent"]["outcome"]) == (True, "invalid")
    assert result["structuredContent"]["error"]["code"] == "invalid_arguments"
    async with httpx2.AsyncClient(headers=headers_of(server.token("partner"))) as http:
        call = (await http.get(f"{server.url}/v1/activity/{result['structuredContent']['call_id']}")).json()
    assert (call["outcome"], call["error_code"], call["door"]) == ("invalid", "invalid_arguments", "mcp")
    assert call["arguments"] == arguments


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_body_that_does_not_say_it_is_json_is_refused(server: Served, content_type: str) -> None:
    headers = {**headers_of(server.token("employee", "mcp")), "Content-Type": content_type}
    assert (await post(server, rpc("tools/list"), headers)).status_code == 415
