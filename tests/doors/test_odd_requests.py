"""Odd paths, parameters and headers: 4xx as a problem, or harmless; never a fault of the server's."""

import itertools
from collections.abc import Mapping
from urllib.parse import quote

import httpx

from tests.support.doors import Doors, problem_of

LISTS = (
    "/v1/tools",
    "/v1/tasks",
    "/v1/approvals",
    "/v1/activity",
    "/v1/conversations",
    "/v1/knowledge/documents",
)
NO_LIMITS = ("0", "101", "-1", "9" * 40, "1.5", "ten", "", "NaN", "1e2", "%00", "0x10", "٣")
NO_CURSORS = (
    "",
    "x",
    "AAAA",
    "%00",
    "null",
    "%FF%FE",
    "W10",
    "WyIxOTk5LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgMV0",
    "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIl0",
    "WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTIzOjU5IiwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIl0",
    "x" * 301,
)
NO_MOMENTS = (
    "yesterday",
    "2026-13-01",
    "2026-02-30",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00%2B23:59",
    "9999-12-31",
    "%00",
    "1e400",
    "99999999999999999999",
    "-1",
)
"""As the end of a period; the last day of all has no day behind it."""
NO_IDS = (
    "%00",
    "1",
    "not-a-uuid",
    "%2e%2e%2f",
    "%F0%9F%92%A9",
    "'%20OR%201=1--",
    "00000000-0000-0000-0000-00000000000g",
)
ODD_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Accept": ("\xff\xfe", ";;;", "a" * 5000, "*/*;q=2", "application/json;q=nan", ","),
    "Authorization": ("", "Bearer", "Bearer ", "Basic x", "Bearer \xff\xfe", "Bearer a.b.c", "Bearer " + "x" * 9000),
    "X-Organization": ("", "\xff", "acme-audit'; --", "a" * 5000, "borealis-tax"),
    "X-Request-Id": ("", "\xff", "a b", "x" * 500),
    "traceparent": ("", "00-0-0-00", "\xff" * 55, "x" * 5000),
    "tracestate": ("\xff", "x" * 5000),
    "X-Forwarded-For": ("", "not an address", "127.0.0.1, \xff"),
    "X-Forwarded-Proto": ("javascript", "\xff"),
    "Host": ("\xff", "", "a:b:c"),
    "Content-Length": ("0",),
    "Origin": ("null", "\xff", "https://evil.example"),
    "Last-Event-ID": ("-1", "x", "9" * 40, "\xff", "1.5", "NaN"),
    "If-None-Match": ("\xff", "*", '"'),
    "Cookie": ("\xff=\xff; =; a",),
    "Range": ("bytes=5-2", "\xff"),
}


def harmless(answer: httpx.Response) -> bool:
    if answer.status_code < 400:
        return True
    return answer.status_code < 500 and answer.headers["content-type"] == "application/problem+json"


async def test_an_odd_limit_or_cursor_is_refused_by_every_list(doors: Doors) -> None:
    client = await doors.client()

    for path, limit in itertools.product(LISTS, NO_LIMITS):
        problem_of(await client.get(f"{path}?limit={limit}"), 422, "invalid_request")
    for path, cursor in itertools.product(LISTS, NO_CURSORS):
        answer = await client.get(f"{path}?cursor={cursor}")
        assert answer.status_code == 422 or path == "/v1/tools", (path, cursor, answer.text)
        assert harmless(answer), (path, cursor, answer.text)


async def test_a_parameter_that_no_list_takes_is_refused_by_its_name(doors: Doors) -> None:
    client = await doors.client()

    for path in LISTS:
        problem = problem_of(await client.get(f"{path}?bogus=1&limit=5"), 422, "invalid_request")
        assert problem["details"] == [{"path": "bogus", "message": "is no parameter of this"}]
        assert (await client.get(f"{path}?limit=5")).status_code == 200
    problem_of(await (await doors.stranger()).get("/v1/activity?bogus=1"), 401, "unauthenticated")
    assert (await client.get("/v1/activity?from=2026-01-01&to=2026-12-31&door=rest&limit=5")).status_code == 200


async def test_an_odd_filter_is_refused(doors: Doors) -> None:
    client = await doors.client("partner@acme")
    filters = ("tool=%00", "door=window", "decision=maybe", "outcome=x", "principal=%00", "conversation_id=1")
    paths = [f"/v1/activity?{each}" for each in filters]
    paths += ["/v1/approvals?state=odd", "/v1/tasks?status=odd", "/v1/tasks?engagement_id=1", "/v1/tasks?assignee=%00"]
    paths += [
        "/v1/knowledge/documents?status=odd",
        "/v1/analytics/tool_use?format=xlsx",
        "/v1/analytics/tasks?group_by=door",
        "/v1/analytics/tool_use?group_by=x",
    ]
    paths += [f"/v1/tasks?due_to={day}" for day in ("0", "1767225600", "20260131", "2026-W05-1", "2026-02-30", "%00")]
    paths += [f"/v1/activity?to={moment}" for moment in NO_MOMENTS]
    paths += [f"/v1/analytics/tool_use?to={moment}" for moment in NO_MOMENTS]

    for path in paths:
        answer = await client.get(path)
        assert answer.status_code == 422, (path, answer.status_code, answer.text)
        assert harmless(answer)


async def test_an_odd_id_names_nothing(doors: Doors) -> None:
    client = await doors.client("partner@acme")
    paths = (
        "/v1/tasks/{}",
        "/v1/task-runs/{}",
        "/v1/approvals/{}",
        "/v1/activity/{}",
        "/v1/conversations/{}",
        "/v1/conversations/{}/messages",
        "/v1/runs/{}",
        "/v1/knowledge/documents/{}",
        "/v1/knowledge/documents/{}/content",
        "/v1/knowledge/documents/{}/events",
        "/v1/tools/{}",
        "/v1/analytics/{}",
        "/v1/nothing/{}",
        "/assets/{}",
    )

    for path, odd in itertools.product(paths, NO_IDS):
        problem_of(await client.get(path.format(odd)), 404, "not_found")


async def test_an_odd_tool_name_is_a_recorded_invalid_call(doors: Doors) -> None:
    client = await doors.client()

    for name in ("nothing", "\x00", "a\x00b", "💩", "x" * 2000, "'; DROP TABLE tasks; --", "\ufffd"):
        answer = await client.post(f"/v1/tools/{quote(name)}/call", json={"arguments": {}})
        problem = problem_of(answer, 422, "unknown_tool")
        recorded = await client.get(f"/v1/activity/{problem['call_id']}")
        assert recorded.json()["outcome"] == "invalid", name


async def test_odd_arguments_are_a_recorded_invalid_call(doors: Doors) -> None:
    client = await doors.client()

    for arguments in ({}, {"query": ""}, {"query": "a\x00b"}, {"query": "x", "limit": 2**60}, {"x\x00": 1}):
        answer = await client.post("/v1/tools/knowledge_search/call", json={"arguments": arguments})
        problem = problem_of(answer, 422, "invalid_arguments")
        assert (problem["outcome"], problem["verdict"]) == ("invalid", None)
        assert problem["details"], arguments
        recorded = await client.get(f"/v1/activity/{problem['call_id']}")
        assert recorded.json()["outcome"] == "invalid", arguments


async def test_odd_headers_do_no_harm(doors: Doors) -> None:
    client = await doors.client()

    for name, values in ODD_HEADERS.items():
        for value in values:
            for path in ("/v1/me", "/health", "/", "/docs", "/v1/nothing", "/v1/runs/x/events"):
                answer = await client.get(path, headers=[(name.encode(), value.encode("latin-1"))])
                assert harmless(answer), (name, value[:50], path, answer.status_code, answer.text[:300])


async def test_an_unknown_route_a_wrong_method_and_an_unacceptable_type_are_problems(doors: Doors) -> None:
    client = await doors.client()

    for path in ("/nothing", "/v1", "/v1/", "/v1/tasks/", "//v1/tasks", "/v1/TASKS", "/v1/tasks/%2F"):
        problem_of(await client.get(path), 404, "not_found")
    refused = await client.put("/v1/conversations/00000000-0000-0000-0000-000000000001", json={})
    problem_of(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "DELETE, GET, PATCH"
    for method in ("DELETE", "TRACE", "OPTIONS", "BREW"):
        problem_of(await client.request(method, "/v1/tasks"), 405, "method_not_allowed")
    for path in ("/v1/tasks", "/v1/me"):
        problem_of(await client.get(path, headers={"Accept": "text/html"}), 406, "not_acceptable")
    answer = await client.post("/v1/chat", json={"message": "hello"}, headers={"Accept": "image/png"})
    problem_of(answer, 406, "not_acceptable")
