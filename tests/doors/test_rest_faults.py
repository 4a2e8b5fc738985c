"""When something is wrong with the server itself: a reference and no more, or when to come back; and what is logged."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import orjson
import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server.app import AppOptions
from server.database.connection import Connection
from server.database.errors import DatabaseUnavailable
from server.health import KEPT_S, Readiness, Ready
from server.logs import configure_logs
from server.settings import Settings
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors, problem_of
from tests.support.environment import own_logs_again
from tests.support.wires import passed_on, reached_by

SECRET = "SELECT password FROM users -- hunter2"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the server logs, as an operator's collector reads it."""
    with own_logs_again():
        stream = io.StringIO()
        configure_logs(stream=stream)
        yield stream


def parsed(lines: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in lines.getvalue().splitlines()]


async def faulty(request: Request) -> Response:
    raise RuntimeError(SECRET)


async def away(request: Request) -> Response:
    raise DatabaseUnavailable("glow_app", "10.1.2.3 does not answer")


async def half(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError(SECRET)

    return StreamingResponse(pieces())


def break_in(doors: Doors) -> None:
    """Routes with the faults that no route of ours is known to have."""
    doors.app.add_api_route("/v1/faulty", faulty)
    doors.app.add_api_route("/v1/away", away)
    doors.app.add_api_route("/v1/half", half)


async def test_a_fault_nobody_foresaw_shows_its_reference_and_nothing_else(doors: Doors, lines: io.StringIO) -> None:
    break_in(doors)
    client = await doors.client(headers={"X-Request-Id": "request-9"})

    answer = await client.get("/v1/faulty")

    problem = problem_of(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    fault = next(line for line in parsed(lines) if line["message"] == "http.faulted")
    assert (fault["reference"], fault["level"]) == (problem["reference"], "error")
    assert fault["requestId"] == "request-9"
    assert SECRET in str(fault["exception"])
    assert answer.headers["x-request-id"] == "request-9"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_half_an_answer_is_broken_off_rather_than_ended(doors: Doors, lines: io.StringIO) -> None:
    break_in(doors)

    with pytest.raises(RuntimeError):
        await (await doors.client()).get("/v1/half")

    assert [line["message"] for line in parsed(lines)].count("http.faulted") == 1


async def test_a_database_that_is_away_answers_when_to_come_back(doors: Doors) -> None:
    break_in(doors)

    answer = await (await doors.client()).get("/v1/away")

    problem_of(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert "10.1.2.3" not in answer.text


async def test_without_its_database_the_server_is_alive_and_not_ready(database: Database) -> None:
    now = [0.0]
    options = AppOptions(runs_worker=False, monotonic=lambda: now[0])
    async with (
        passed_on(database.address.port) as wire,
        in_a_task(opened_doors(reached_by(database, wire.port), app_options=options)) as doors,
    ):
        client = await doors.client()
        assert (await client.get("/v1/me")).status_code == 200
        ready = (await client.get("/readiness")).json()
        assert ready["status"] == "ready"
        assert ready["dependencies"]["model"] == {"state": "offline", "detail": "offline"}
        assert ready["dependencies"]["worker"]["state"] == "unavailable"
        assert ready["workers"] == {"alive": 0, "last_heartbeat_s": None}

        await doors.hub.workers.beat(uuid4())
        now[0] += KEPT_S
        ready = (await client.get("/readiness")).json()
        assert ready["dependencies"]["worker"]["state"] == "elsewhere"
        assert (ready["workers"]["alive"], ready["workers"]["last_heartbeat_s"] < 20) == (1, True)

        await wire.cut()
        assert (await client.get("/readiness")).json()["status"] == "ready"  # as it was found a moment ago
        now[0] += KEPT_S

        unready, *refused = await asyncio.gather(
            client.get("/readiness"),
            client.get("/v1/tasks"),
            client.post("/v1/chat", json={"message": "hello"}),
            client.post("/v1/tools/task_list/call", json={"arguments": {}}),
        )
        for answer in refused:
            problem_of(answer, 503, "unavailable")
        assert (unready.status_code, unready.json()["status"]) == (503, "not_ready")
        assert unready.json()["dependencies"]["database"]["state"] == "unavailable"
        assert unready.json()["workers"] is None
        assert (await client.get("/health")).status_code == 200


async def test_however_many_ask_whether_the_server_is_ready_it_is_found_out_once_a_second() -> None:
    now, found_out = [0.0], list[float]()

    async def find_out() -> Ready:
        found_out.append(now[0])
        await asyncio.sleep(0)
        return Ready(status="ready", dependencies={})

    readiness = Readiness(find_out, lambda: now[0])
    for moment in (0.0, KEPT_S / 2, KEPT_S):
        now[0] = moment
        await asyncio.gather(*(readiness.now() for _ in range(50)))

    assert found_out == [0.0, KEPT_S]


async def test_each_request_is_one_line_that_names_it(doors: Doors, lines: io.StringIO) -> None:
    client = await doors.client()

    answer = await client.get("/v1/tasks?assignee=somebody@acme.example")

    line = next(line for line in parsed(lines) if line["message"] == "http.request")
    assert {"timestamp", "level", "service", "message", "requestId", "orgId", "duration", "status"} <= set(line)
    assert (line["service"], line["status"], line["path"]) == ("glow", 200, "/v1/tasks")
    assert line["requestId"] == answer.headers["x-request-id"]
    assert isinstance(line["duration"], float)
    assert "somebody" not in lines.getvalue()
    assert "Bearer" not in lines.getvalue()


async def test_a_requests_line_names_the_call_the_conversation_and_the_run_it_was_about(
    doors: Doors, lines: io.StringIO
) -> None:
    client = await doors.client()
    engagement = str(uuid4())

    refused = await client.post("/v1/tasks", json={"title": "x", "engagement_id": engagement})
    odd = await client.post("/v1/tasks", json={"title": "x", "engagement_id": "somebody's words"})
    chat = (await client.post("/v1/chat", json={"message": "what may you do?"})).json()
    await client.get(f"/v1/runs/{chat['run_id']}")
    await client.get(f"/v1/conversations/{chat['conversation_id']}/messages")
    await client.get(f"/v1/tasks?engagement_id={engagement}")

    call, unread, said, run, conversation, listed = (
        line for line in parsed(lines) if line["message"] == "http.request"
    )
    assert (call["callId"], call["outcome"], call["engagementId"]) == (refused.json()["call_id"], "invalid", engagement)
    assert (unread["callId"], "engagementId" in unread) == (odd.json()["call_id"], False)
    for line in (said, run):
        assert (line["conversationId"], line["runId"]) == (chat["conversation_id"], chat["run_id"])
    assert (conversation["conversationId"], listed["engagementId"]) == (chat["conversation_id"], engagement)
    assert "callId" not in listed


async def test_lines_of_libraries_are_json_too(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("took %s s\nand a line more", 3)
    structlog.get_logger().warning("odd", value="\ud800", other=object)

    library, own = parsed(lines)
    assert (library["message"], library["level"]) == ("took 3 s\nand a line more", "warning")
    assert own["message"] == "odd"


async def test_a_row_that_the_database_quotes_stands_in_no_line(
    superuser_connection: Connection, lines: io.StringIO
) -> None:
    await superuser_connection.execute("CREATE TEMPORARY TABLE minutes (words text, kept text NOT NULL)")
    words = "Salaries:\nhunter2\n  | and hunter3"
    with pytest.raises(asyncpg.NotNullViolationError) as refused:
        await superuser_connection.execute("INSERT INTO minutes VALUES ($1, NULL)", words)
    quoting = refused.value
    try:
        raise ExceptionGroup("several", [RuntimeError("a fault"), quoting]) from quoting
    except ExceptionGroup as group:
        structlog.get_logger().error("faulted", exc_info=group)
        logging.getLogger("some.library").exception("faulted too")

    assert words in str(quoting)
    own, library = (str(line["exception"]) for line in parsed(lines))
    for told in (own, library):
        assert told.count('null value in column "kept"') == 2
        assert "a fault" in told
        assert "hunter" not in told


async def test_no_line_holds_a_token(doors: Doors, lines: io.StringIO) -> None:
    break_in(doors)
    good = await doors.token("employee@acme")
    wrong = [await doors.token("employee@acme", "mcp"), good[:-4] + "AAAA", "made.up.entirely"]

    for token in (good, *wrong):
        client = await doors.stranger({"Authorization": f"Bearer {token}"})
        for path in ("/v1/me", "/v1/faulty", f"/v1/activity?token={token}", "/v1/approvals/x"):
            await client.get(path)
        await client.post("/v1/tools/task_create/call", json={"arguments": {"title": 1}})
        await client.post("/mcp", json={})

    written = lines.getvalue()
    assert "http.faulted" in written
    assert not [token for token in (good, *wrong) if token in written or token.rsplit(".", 1)[-1] in written]


async def test_only_pages_of_allowed_origins_may_call(database: Database) -> None:
    options = AppOptions(allowed_origins=("https://intranet.example",))
    async with in_a_task(opened_doors(database, app_options=options)) as doors:
        client = await doors.client()
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        ours, evil = {"Origin": "https://intranet.example"}, {"Origin": "https://evil.example"}

        allowed = await client.options("/v1/chat", headers={**asked, **ours})
        refused = await client.options("/v1/chat", headers={**asked, **evil})
        assert allowed.status_code == 200
        problem_of(refused, 400, "cross_origin_refused")
        assert "access-control-allow-origin" not in refused.headers
        assert allowed.headers["access-control-allow-origin"] == "https://intranet.example"
        for path in ("/v1/me", "/v1/nothing"):
            answer = await client.get(path, headers=ours)
            assert answer.headers["access-control-allow-origin"] == "https://intranet.example"
            assert "access-control-allow-origin" not in (await client.get(path, headers=evil)).headers
            assert "access-control-allow-credentials" not in answer.headers


async def test_without_allowed_origins_no_page_elsewhere_may_call(doors: Doors) -> None:
    client = await doors.client(headers={"Origin": "https://evil.example"})

    answers = [await client.get("/v1/me"), await client.options("/v1/me")]

    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(("trusted", "seen"), [("127.0.0.0/8", "203.0.113.9"), ("10.0.0.0/8", "127.0.0.1")])
async def test_only_trusted_proxies_are_believed(database: Database, trusted: str, seen: str) -> None:
    networks = Settings.model_validate({"GLOW_TRUSTED_PROXIES": trusted, "GLOW_MODEL_API": "offline"}).trusted_proxies
    clients: list[str] = []

    async def whoami(request: Request) -> Response:
        clients.append("" if request.client is None else request.client.host)
        return Response(request.url.scheme)

    async with in_a_task(opened_doors(database, app_options=AppOptions(trusted_proxies=networks))) as doors:
        doors.app.add_api_route("/v1/whoami", whoami)
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        answer = await (await doors.client(headers=headers)).get("/v1/whoami")

    assert clients == [seen]
    assert answer.text == ("https" if seen == "203.0.113.9" else "http")
