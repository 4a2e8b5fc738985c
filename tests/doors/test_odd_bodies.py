"""Odd bodies on every route: refused as a problem, whoever sends them, and never a fault of the server's."""

import itertools
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import httpx
from fastapi.routing import iter_route_contexts

from server.http.bodies import JSON_LIMIT
from tests.support.doors import Doors, problem_of

SOMETHING = str(UUID(int=0xABCDEF))
JSON = {"Content-Type": "application/json"}
HTTP = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

ODD: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"this is not JSON",
    "NaN": b'{"message": NaN}',
    "negative infinity": b'{"message": -Infinity}',
    "a number beyond doubles": b'{"message": 1e999}',
    "a lone surrogate": b'{"message": "\\ud800"}',
    "a lone surrogate in a key": b'{"\\udfff": 1}',
    "not UTF-8": b'{"message": "\xff\xfe"}',
    "UTF-16": '{"message": "hello"}'.encode("utf-16"),
    "cut off": b'{"message": "hel',
    "trailing garbage": b'{"message": "hello"} and more',
    "a key twice": b'{"message": "a", "message": "b"}',
    "deep": b"[" * 100_000,
    "deep and whole": b'{"message":' * 2000 + b"1" + b"}" * 2000,
    "ten megabytes": b'{"message": "' + b"x" * 10_000_000 + b'"}',
    "ten megabytes of spaces": b" " * 10_000_000,
    "a string": b'"hello"',
    "a number": b"1",
    "null": b"null",
    "a list": b"[]",
    "wrong types": b'{"message": 1, "query": [], "title": {}, "decision": 5, "arguments": "x", "input": 3}',
    "no members": b"{}",
    "unknown members": b'{"surprise": true}',
    "a NUL character": b'{"message": "a\\u0000b", "query": "a\\u0000b", "title": "\\u0000", "decision": "\\u0000"}',
    "a NUL character in a key": b'{"a\\u0000b": 1}',
    "integers beyond 2^53": b'{"query": "x", "limit": 9007199254740993, "title": "x", "input": {"n": 1e400}}',
    "an integer of five thousand digits": b'{"message": ' + b"9" * 5000 + b"}",
}


def body_routes(doors: Doors) -> list[tuple[str, str]]:
    """Every route that takes a body, with ids of nothing in its path; /mcp speaks of its own errors in JSON-RPC."""
    return [(method, path) for method, path in routes(doors) if method in ("POST", "PUT", "PATCH") and path != "/mcp"]


def routes(doors: Doors) -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(doors.app.routes):
        path = (context.path or "").replace(":uuid}", "}")
        for parameter, value in {
            "{name}": "knowledge_search",
            "{report}": "tool_use",
            "{task_id}": SOMETHING,
            "{task_run_id}": SOMETHING,
            "{approval_id}": SOMETHING,
            "{document_id}": SOMETHING,
            "{conversation_id}": SOMETHING,
            "{run_id}": SOMETHING,
            "{call_id}": SOMETHING,
            "{preference_id}": SOMETHING,
            "{schedule_id}": SOMETHING,
            "{policy_id}": SOMETHING,
            "{proposal_id}": SOMETHING,
            "{delegation_id}": SOMETHING,
            "{erasure_id}": SOMETHING,
            "{source_id}": SOMETHING,
        }.items():
            path = path.replace(parameter, value)
        assert "{" not in path, path
        for method in sorted(context.methods or HTTP):
            if method in HTTP:
                yield method, path


def refused(answer: httpx.Response) -> bool:
    return 400 <= answer.status_code < 500 and answer.headers["content-type"] == "application/problem+json"


async def test_there_are_routes_to_send_them_to(doors: Doors) -> None:
    assert ("POST", "/v1/chat") in body_routes(doors)
    assert len(body_routes(doors)) >= 9


async def test_an_odd_body_is_refused_on_every_route_that_takes_one(doors: Doors) -> None:
    client = await doors.client("partner@acme")

    for (method, path), (name, body) in itertools.product(body_routes(doors), ODD.items()):
        answer = await client.request(method, path, content=body, headers=JSON)

        assert refused(answer), (path, name, answer.status_code, answer.text[:300])


async def test_an_odd_body_does_no_harm_anywhere_else(doors: Doors) -> None:
    client, agent = await doors.client("partner@acme"), await doors.client("partner@acme", "mcp")

    elsewhere = [route for route in routes(doors) if route not in body_routes(doors)]
    for (method, path), (name, body) in itertools.product(elsewhere, ODD.items()):
        asking = agent if path == "/mcp" else client
        answer = await asking.request(method, path, content=body, headers=JSON)

        assert answer.status_code < 500, (method, path, name, answer.status_code, answer.text[:300])


async def test_a_body_of_another_media_type_is_refused(doors: Doors) -> None:
    client = await doors.client()
    charset, long = "application/json; charset=utf-16", "x" * 300

    for given in ("text/plain", "application/xml", charset, "multipart/form-data", "", ";", "json", long, "é/é"):
        headers = [(b"content-type", given.encode("latin-1"))]
        answer = await client.post("/v1/chat", content=b'{"message": "hello"}', headers=headers)

        problem_of(answer, 415, "unsupported_media_type")


async def test_json_by_any_of_its_names_is_taken(doors: Doors) -> None:
    client = await doors.client()

    for given in ("application/json; charset=utf-8", "Application/JSON", "application/json;"):
        answer = await client.post("/v1/chat", content=b'{"message": "hello"}', headers={"Content-Type": given})

        assert answer.status_code == 200, given


async def test_a_body_is_cut_off_at_its_limit_whatever_length_it_declares(doors: Doors) -> None:
    client = await doors.client()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 65_536

    answer = await client.post("/v1/chat", content=endless(), headers=JSON)

    assert answer.status_code == 413
    assert sent <= JSON_LIMIT // 65_536 + 2


async def test_what_is_wrong_with_a_body_is_told_by_its_path_and_never_by_its_value(doors: Doors) -> None:
    client = await doors.client()

    answer = await client.post("/v1/chat", json={"message": 12345, "engagement_id": "hunter2", "surprise": 1})

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request")
    assert {fault["path"] for fault in problem["details"]} == {"message", "engagement_id", "surprise"}
    assert "hunter2" not in answer.text
    assert "12345" not in answer.text


async def test_however_much_is_wrong_with_a_body_little_is_said_of_it(doors: Doors) -> None:
    client = await doors.client()
    many = {f"surprise {number}": number for number in range(30_000)}

    for body in (many, {"k" * 500_000: 1}, {"message": "a\x00", "k" * 500_000: "b\x00"}):
        answer = await client.post("/v1/chat", json=body)

        problem_of(answer, 422, "invalid_request")
        assert len(answer.content) < 5000


async def test_a_strangers_body_is_not_read(doors: Doors) -> None:
    stranger = await doors.stranger()
    read = 0

    async def watched() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b'{"message": NaN}'

    for method, path in body_routes(doors):
        answer = await stranger.request(method, path, content=watched(), headers=JSON)

        problem_of(answer, 401, "unauthenticated")
    assert read == 0
