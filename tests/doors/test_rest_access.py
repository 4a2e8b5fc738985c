"""Who gets in: tokens and their audiences, the other organization's ids, and what every answer carries."""

from datetime import timedelta
from uuid import uuid4

from server.tokens import Audience
from tests.support.doors import Doors, problem_of

GETS = (
    "/v1/me",
    "/v1/tools",
    "/v1/tasks",
    "/v1/approvals",
    "/v1/activity",
    "/v1/conversations",
    "/v1/knowledge/documents",
    "/v1/autonomy/status",
    "/v1/analytics/tool_use",
)
NOT_FOR_WIDGETS = tuple(path for path in GETS if path != "/v1/approvals")


async def test_without_a_token_the_answer_is_a_challenge_that_names_no_error(doors: Doors) -> None:
    stranger = await doors.stranger()

    for path in GETS:
        answer = await stranger.get(path)
        problem_of(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_expired_or_forged_token_is_told_to_be_invalid(doors: Doors) -> None:
    expired = await doors.token("employee@acme", lifetime=timedelta(seconds=-1))
    forged = (await doors.token("employee@acme"))[:-4] + "AAAA"

    for token in (expired, forged, "x.y.z"):
        client = await doors.stranger({"Authorization": f"Bearer {token}"})
        answer = await client.get("/v1/me")
        problem_of(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_token_for_mcp_opens_nothing_here(doors: Doors) -> None:
    agent = await doors.client("partner@acme", "mcp")

    for path in GETS:
        problem_of(await agent.get(path), 403, "wrong_audience")
    problem_of(await agent.post("/v1/chat", json={"message": "hello"}), 403, "wrong_audience")
    problem_of(await agent.post("/v1/tasks", json={"title": "x"}), 403, "wrong_audience")
    problem_of(await agent.delete(f"/v1/knowledge/documents/{uuid4()}"), 403, "wrong_audience")


async def test_a_token_for_a_widget_opens_chat_runs_approvals_and_uploads_only(doors: Doors) -> None:
    widget = await doors.client("employee@acme", "widget")

    for path in NOT_FOR_WIDGETS:
        problem_of(await widget.get(path), 403, "wrong_audience")
    assert (await widget.get("/v1/approvals")).status_code == 200
    answer = await widget.post("/v1/chat", json={"message": "what may you do on your own?"})
    assert answer.status_code == 200
    assert (await widget.get(f"/v1/runs/{answer.json()['run_id']}")).json()["status"] == "completed"
    upload = await widget.post("/v1/knowledge/documents", files={"file": ("a.txt", b"A few words of text.")})
    assert upload.status_code == 202
    doors_used = {item["door"] for item in (await (await doors.client()).get("/v1/activity")).json()["items"]}
    assert doors_used == {"widget"}


async def test_calling_a_tool_with_the_wrong_token_is_recorded_as_denied(doors: Doors) -> None:
    audiences: tuple[Audience, ...] = ("mcp", "widget")
    for audience in audiences:
        client = await doors.client("partner@acme", audience)
        answer = await client.post("/v1/tools/task_create/call", json={"arguments": {"title": "x"}})

        problem = problem_of(answer, 403, "wrong_audience")
        assert problem["outcome"] == "denied"
        assert problem["verdict"] == {"decision": "deny", "reasons": ["wrong_audience"]}
        recorded = await (await doors.client("partner@acme")).get(f"/v1/activity/{problem['call_id']}")
        assert (recorded.json()["tool"], recorded.json()["outcome"]) == ("task_create", "denied")


async def test_an_agents_attempt_to_decide_is_recorded_as_denied(doors: Doors) -> None:
    agent = await doors.client("partner@acme", "mcp")
    approval_id = str(uuid4())

    answer = await agent.post(f"/v1/approvals/{approval_id}/decision", json={"decision": "approve"})

    problem = problem_of(answer, 403, "wrong_audience")
    recorded = (await (await doors.client("partner@acme")).get(f"/v1/activity/{problem['call_id']}")).json()
    assert (recorded["tool"], recorded["mode"], recorded["outcome"]) == ("approval_decide", "agent", "denied")
    assert recorded["arguments"] == {"approval_id": approval_id}


async def test_a_token_for_a_service_acts_as_an_agent_and_cannot_decide(doors: Doors) -> None:
    service = await doors.client("partner@acme", "service")

    assert (await service.get("/v1/me")).json()["mode"] == "agent"
    answer = await service.post(f"/v1/approvals/{uuid4()}/decision", json={"decision": "approve"})
    problem = problem_of(answer, 403, "denied")
    assert problem["outcome"] == "denied"


async def test_the_caller_is_told_who_they_are(doors: Doors) -> None:
    me = (await (await doors.client("employee@borealis")).get("/v1/me")).json()

    assert (me["principal"], me["role"], me["mode"]) == ("employee@borealis.example", "EMPLOYEE", "person")
    assert (me["organization"], me["autonomy"]) == ("borealis-tax", "L1")
    status = (await (await doors.client("employee@borealis")).get("/v1/autonomy/status")).json()
    assert (status["level"], status["ceiling"]) == ("L1", "L1")


async def test_the_header_may_name_the_organization_and_never_another_one(doors: Doors) -> None:
    client = await doors.client("employee@acme")

    assert (await client.get("/v1/me", headers={"X-Organization": "acme-audit"})).status_code == 200
    answer = await client.get("/v1/me", headers={"X-Organization": "borealis-tax"})
    problem_of(answer, 403, "wrong_organization")


async def test_another_organizations_ids_answer_as_ids_of_nothing(doors: Doors) -> None:
    ours, theirs = await doors.client("partner@acme"), await doors.client("partner@borealis")
    task = (await theirs.post("/v1/tasks", json={"title": "theirs"})).json()["task_id"]
    run = (await theirs.post("/v1/chat", json={"message": "what may you do on your own?"})).json()
    call = (await theirs.get("/v1/activity")).json()["items"][0]["call_id"]
    upload = await theirs.post("/v1/knowledge/documents", files={"file": ("a.txt", b"Some words.")})
    document = upload.json()["items"][0]["document_id"]
    foreign = {
        "/v1/tasks/{}": task,
        "/v1/conversations/{}": run["conversation_id"],
        "/v1/conversations/{}/messages": run["conversation_id"],
        "/v1/runs/{}": run["run_id"],
        "/v1/runs/{}/events": run["run_id"],
        "/v1/activity/{}": call,
        "/v1/knowledge/documents/{}": document,
        "/v1/knowledge/documents/{}/content": document,
        "/v1/knowledge/documents/{}/events": document,
    }

    for path, id_of_theirs in foreign.items():
        assert (await theirs.get(path.format(id_of_theirs))).status_code in (200, 409), path
        found, nothing = await ours.get(path.format(id_of_theirs)), await ours.get(path.format(uuid4()))
        code = CODES.get(path, "not_found")
        assert plain(problem_of(found, 404, code)) == plain(problem_of(nothing, 404, code)), path


CODES = {"/v1/activity/{}": "call_not_found", "/v1/knowledge/documents/{}/content": "document_not_found"}
"""What a call itself says of it, where looking is a call."""


async def test_acts_upon_another_organizations_ids_are_refused_and_recorded(doors: Doors) -> None:
    ours, theirs = await doors.client("partner@acme"), await doors.client("partner@borealis")
    task = (await theirs.post("/v1/tasks", json={"title": "theirs", "kind": "refresh_analytics"})).json()["task_id"]
    upload = await theirs.post("/v1/knowledge/documents", files={"file": ("a.txt", b"Some words.")})
    document = upload.json()["items"][0]["document_id"]
    run = (await theirs.post("/v1/chat", json={"message": "what may you do on your own?"})).json()

    started = problem_of(await ours.post(f"/v1/tasks/{task}/runs"), 404, "task_not_found")
    deleted = problem_of(await ours.delete(f"/v1/knowledge/documents/{document}"), 404, "document_not_found")
    for problem in (started, deleted):
        recorded = await ours.get(f"/v1/activity/{problem['call_id']}")
        assert recorded.json()["outcome"] == "invalid"
    problem_of(await ours.post(f"/v1/runs/{run['run_id']}/cancel"), 404, "not_found")
    body = {"message": "hello", "conversation_id": run["conversation_id"]}
    problem_of(await ours.post("/v1/chat", json=body), 404, "not_found")
    conversation = f"/v1/conversations/{run['conversation_id']}"
    problem_of(await ours.patch(conversation, json={"title": "ours"}), 404, "not_found")
    problem_of(await ours.delete(conversation), 404, "not_found")
    assert (await theirs.get(conversation)).status_code == 200
    assert (await theirs.get(f"/v1/knowledge/documents/{document}")).status_code == 200


async def test_every_answer_carries_its_marks_and_what_browsers_must_not_do(doors: Doors) -> None:
    client = await doors.client()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    sent = {"X-Request-Id": "mine-1", "traceparent": trace, "tracestate": "a=1"}

    for path in ("/v1/me", "/v1/nothing", "/health", "/docs"):
        headers = (await client.get(path, headers=sent)).headers
        assert {name: headers[name] for name in ("x-request-id", "traceparent", "tracestate")} == {
            "x-request-id": "mine-1",
            "traceparent": trace,
            "tracestate": "a=1",
        }
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (await client.get("/v1/me")).headers["cache-control"] == "no-store"
    made = (await client.get("/v1/me", headers={"X-Request-Id": "not valid"})).headers["x-request-id"]
    assert len(made) == 32


def plain(problem: dict[str, object]) -> dict[str, object]:
    """The problem without what names this one request and its call."""
    return {name: value for name, value in problem.items() if name not in ("instance", "call_id")}
