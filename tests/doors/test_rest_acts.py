"""Acts over REST: tools by name, tasks, uploads, approvals and reports, each one call with its record."""

import hashlib
from uuid import UUID, uuid4

import httpx
import pytest

from server.database.connection import Connection
from tests.support.doors import Doors, problem_of
from tests.support.office import packed

LETTER = b"# Engagement letters\n\nThe engagement letter is renewed every year, and a partner signs it.\n"


async def test_a_call_by_hand_is_done_and_recorded(doors: Doors) -> None:
    client = await doors.client()

    answer = await client.post("/v1/tools/task_create/call", json={"arguments": {"title": "Count the chairs"}})

    made = answer.json()
    assert (answer.status_code, made["outcome"]) == (200, "done")
    assert made["result"]["task"]["title"] == "Count the chairs"
    assert made["verdict"]["decision"] == "allow"
    recorded = (await client.get(f"/v1/activity/{made['call_id']}")).json()
    assert (recorded["door"], recorded["mode"], recorded["outcome"]) == ("rest", "person", "done")
    assert [event["type"] for event in recorded["events"]] == ["tool.allowed", "tool.completed"]


async def test_a_request_is_found_again_in_the_record_by_its_marks(
    doors: Doors, superuser_connection: Connection
) -> None:
    client = await doors.client(headers={"X-Request-Id": "request-77"})

    made = (await client.post("/v1/tasks", json={"title": "x"})).headers["x-call-id"]

    query = "SELECT DISTINCT request_id FROM activity_events WHERE call_id = $1"
    found = await superuser_connection.fetch(query, UUID(made))
    assert [row["request_id"] for row in found] == ["request-77"]


async def test_a_dry_run_decides_and_does_nothing(doors: Doors) -> None:
    client = await doors.client()

    body = {"arguments": {"title": "Never"}, "dry_run": True}
    answer = await client.post("/v1/tools/task_create/call", json=body)

    assert (answer.status_code, answer.json()["outcome"]) == (200, "dry_run")
    assert "result" not in answer.json()
    titles = [task["title"] for task in (await client.get("/v1/tasks?limit=100")).json()["items"]]
    assert "Never" not in titles


async def test_a_refused_call_says_how_it_was_decided(doors: Doors) -> None:
    reader = await doors.client("readonly@acme")

    answer = await reader.post("/v1/tools/task_create/call", json={"arguments": {"title": "x"}})

    problem = problem_of(answer, 403, "denied")
    assert problem["outcome"] == "denied"
    assert answer.json()["verdict"]["decision"] == "deny"
    assert (await reader.get(f"/v1/activity/{problem['call_id']}")).json()["outcome"] == "denied"


async def test_the_tools_shown_are_those_the_role_may_call_here(doors: Doors) -> None:
    partner, reader = await doors.client("partner@acme"), await doors.client("readonly@acme")

    shown = {tool["name"] for tool in (await partner.get("/v1/tools")).json()["items"]}
    assert {"task_create", "document_upload", "approval_decide", "knowledge_search"} <= shown
    assert "document_index" not in shown
    read_only = {tool["name"]: tool["effect"] for tool in (await reader.get("/v1/tools")).json()["items"]}
    changing = {name for name, effect in read_only.items() if effect != "read"}
    assert changing == {"feedback_give", "preference_set", "preference_forget"}
    assert (await partner.get("/v1/tools/task_create")).json()["arguments"]["required"] == ["title"]
    problem_of(await reader.get("/v1/tools/task_create"), 404, "not_found")


async def test_tools_are_paged_by_name(doors: Doors) -> None:
    client = await doors.client("partner@acme")
    every = [tool["name"] for tool in (await client.get("/v1/tools")).json()["items"]]

    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": "3", **({} if cursor is None else {"cursor": cursor})}
        page = (await client.get("/v1/tools", params=parameters)).json()
        seen += [tool["name"] for tool in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == every == sorted(every)


async def test_a_task_is_created_shown_and_run_in_the_background(doors: Doors) -> None:
    client = await doors.client()

    created = await client.post("/v1/tasks", json={"title": "Refresh", "kind": "refresh_analytics"})
    task = created.json()
    assert (created.status_code, task["status"]) == (201, "open")
    assert (await client.get(created.headers["location"])).json() == task
    assert created.headers["location"] == f"/v1/tasks/{task['task_id']}"
    accepted = await client.post(f"/v1/tasks/{task['task_id']}/runs", json={"input": {}})
    run = accepted.json()
    assert (accepted.status_code, run["task_id"]) == (202, task["task_id"])
    assert accepted.headers["location"] == f"/v1/task-runs/{run['task_run_id']}"
    shown = await client.get(accepted.headers["location"])
    assert shown.json()["task_run_id"] == run["task_run_id"]
    assert shown.json()["status"] in ("queued", "running", "completed")


async def test_what_a_path_gives_a_body_must_not(doors: Doors) -> None:
    client = await doors.client()

    answer = await client.post(f"/v1/tasks/{uuid4()}/runs", json={"task_id": str(uuid4())})

    problem_of(answer, 422, "invalid_request")


async def test_a_task_that_people_do_cannot_be_run_by_a_workflow(doors: Doors) -> None:
    client = await doors.client()
    task = (await client.post("/v1/tasks", json={"title": "By hand"})).json()

    answer = await client.post(f"/v1/tasks/{task['task_id']}/runs")

    problem = problem_of(answer, 422, "not_runnable")
    assert "refresh_analytics" in str(problem["detail"])


async def waiting_approval(doors: Doors, who: str = "employee@borealis") -> dict[str, object]:
    """An approval that the agent of a person at L1 left."""
    client = await doors.client(who)
    answer = await client.post("/v1/chat", json={"message": "create a task to refresh the analytics"})
    assert answer.json()["status"] == "waiting", answer.text
    listed = (await client.get("/v1/approvals?state=pending")).json()["items"]
    assert [item["id"] for item in listed] == [asked["approval_id"] for asked in answer.json()["approvals"]]
    return listed[0]


async def test_an_approved_call_is_made_once_and_the_second_answer_comes_too_late(doors: Doors) -> None:
    client = await doors.client("employee@borealis")
    approval = await waiting_approval(doors)
    path = f"/v1/approvals/{approval['id']}"

    decided = await client.post(f"{path}/decision", json={"decision": "approve", "comment": "go"})

    item = decided.json()
    assert (decided.status_code, item["state"], item["comment"]) == (200, "executed", "go")
    assert (item["call"]["call_id"], item["call"]["outcome"]) == (approval["call_id"], "done")
    assert item["decided_by"] == "employee@borealis.example"
    shown = (await client.get(path)).json()
    assert shown.pop("subjects") == {"is_bound": True, "items": []}
    assert shown == {name: value for name, value in item.items() if name != "call"}
    problem_of(await client.post(f"{path}/decision", json={"decision": "reject"}), 409, "already_decided")
    tasks = [task["title"] for task in (await client.get("/v1/tasks")).json()["items"]]
    assert tasks.count("Refresh the analytics") == 1


async def test_a_run_that_waits_for_an_approval_is_cancelled_with_it(doors: Doors) -> None:
    client = await doors.client("employee@borealis")
    approval = await waiting_approval(doors)
    path = f"/v1/runs/{approval['run_id']}"

    waiting = (await client.get(path)).json()
    cancelled = (await client.post(f"{path}/cancel")).json()
    answer = await client.post(f"/v1/approvals/{approval['id']}/decision", json={"decision": "reject"})

    assert (waiting["status"], [each["approval_id"] for each in waiting["approvals"]]) == ("waiting", [approval["id"]])
    assert cancelled["status"] == "cancelled"
    assert answer.status_code == 409
    assert (await client.post(f"{path}/cancel")).json() == cancelled


async def test_a_rejected_call_is_never_made(doors: Doors) -> None:
    client = await doors.client("employee@borealis")
    approval = await waiting_approval(doors)

    answer = await client.post(f"/v1/approvals/{approval['id']}/decision", json={"decision": "reject"})

    assert (answer.json()["state"], answer.json()["call"]["outcome"]) == ("rejected", "rejected")
    recorded = (await client.get(f"/v1/activity/{approval['call_id']}")).json()
    assert (recorded["decision"], recorded["outcome"]) == ("needs_approval", "rejected")


async def test_an_approval_is_hidden_from_who_neither_asked_nor_may_decide(doors: Doors) -> None:
    approval = await waiting_approval(doors)

    for who in ("partner@acme", "employee@acme"):
        client = await doors.client(who)
        problem_of(await client.get(f"/v1/approvals/{approval['id']}"), 404, "not_found")
        answer = await client.post(f"/v1/approvals/{approval['id']}/decision", json={"decision": "approve"})
        assert answer.status_code in (403, 404)
        assert (await client.get("/v1/approvals")).json()["items"] == []


async def test_an_agents_credential_of_a_service_waits_for_a_person(doors: Doors) -> None:
    service = await doors.client("employee@borealis", "service")

    answer = await service.post("/v1/tasks", json={"title": "By an agent"})

    waiting = answer.json()
    assert (answer.status_code, waiting["outcome"]) == (202, "waiting")
    assert waiting["verdict"]["decision"] == "needs_approval"
    person = await doors.client("employee@borealis")
    assert (await person.get(f"/v1/approvals/{waiting['approval_id']}")).json()["state"] == "pending"


async def test_a_report_is_a_recorded_call(doors: Doors) -> None:
    client = await doors.client("partner@acme")
    await client.post("/v1/tasks", json={"title": "x"})

    report = await client.get("/v1/analytics/tool_use", params={"group_by": "door", "format": "json"})

    assert report.status_code == 200
    assert report.json()["table"]["rows"][0][:2] == ["rest", 1]
    recorded = (await client.get(f"/v1/activity/{report.headers['x-call-id']}")).json()
    assert recorded["tool"] == "analytics_report"
    problem_of(await client.get("/v1/analytics/nothing"), 404, "not_found")
    problem_of(await (await doors.client("readonly@acme")).get("/v1/analytics/tool_use"), 403, "denied")


async def test_activity_is_filtered_and_paged(doors: Doors) -> None:
    client = await doors.client()
    for n in range(5):
        await client.post("/v1/tasks", json={"title": f"Task {n}"})
    await client.post("/v1/knowledge/search", json={"query": "letters"})
    await client.post("/v1/tools/nothing/call", json={"arguments": {}})

    async def found(**filters: str) -> list[dict[str, object]]:
        return (await client.get("/v1/activity", params=filters)).json()["items"]

    assert {item["tool"] for item in await found(tool="task_create")} == {"task_create"}
    assert len(await found(outcome="done")) == 6
    assert len(await found(outcome="invalid")) == 1
    assert await found(door="mcp") == []
    assert len(await found(principal="employee@acme.example")) == 7
    assert await found(to="2020-01-01") == []
    assert len(await found(**{"from": "2020-01-01"})) == 7
    first = (await client.get("/v1/activity?limit=4")).json()
    second = (await client.get("/v1/activity", params={"limit": "4", "cursor": first["next_cursor"]})).json()
    assert second["next_cursor"] is None
    assert len({item["call_id"] for item in first["items"] + second["items"]}) == 7


async def test_looking_at_another_members_call_is_a_call_of_its_own(doors: Doors) -> None:
    employee, manager = await doors.client(), await doors.client("manager@acme")
    searched = await employee.post("/v1/knowledge/search", json={"query": "letters"})
    call_id = searched.headers["x-call-id"]

    seen = await manager.get(f"/v1/activity/{call_id}")

    item = seen.json()
    assert (item["call_id"], item["principal"], item["outcome"]) == (call_id, "employee@acme.example", "done")
    assert item["result"] == searched.json()
    assert [event["type"] for event in item["events"]] == ["tool.completed"]
    looked = (await manager.get(f"/v1/activity/{seen.headers['x-call-id']}")).json()
    assert (looked["tool"], looked["principal"], looked["arguments"]) == (
        "call_get",
        "manager@acme.example",
        {"call_id": call_id},
    )
    hidden = await (await doors.client("readonly@acme")).get(f"/v1/activity/{call_id}")
    assert problem_of(hidden, 404, "call_not_found")["outcome"] == "invalid"


async def test_a_list_shows_the_beginning_of_long_arguments_and_one_call_all_that_is_kept(doors: Doors) -> None:
    client = await doors.client()
    await client.post("/v1/tasks", json={"title": "A long one", "description": "x" * 4000})
    await client.post("/v1/tools/task_create/call", json={"arguments": {"title": 1, "junk": ["x" * 1000] * 200}})

    listed = await client.get("/v1/activity")

    assert len(listed.content) < 7000
    refused, made = listed.json()["items"]
    assert made["arguments"]["_truncated"] is True
    assert made["arguments"]["preview"].startswith('{"description":"xxx')
    whole = (await client.get(f"/v1/activity/{made['call_id']}")).json()["arguments"]
    assert whole == {"title": "A long one", "description": "x" * 4000}
    kept = (await client.get(f"/v1/activity/{refused['call_id']}")).json()["arguments"]
    assert len(kept) == 16_384


async def test_arguments_that_no_schema_has_passed_look_alike_in_lists_and_alone(doors: Doors) -> None:
    client = await doors.client()
    await client.post("/v1/tools/task_create/call", json={"arguments": {"title": 1}})

    listed = (await client.get("/v1/activity")).json()["items"][0]
    alone = (await client.get(f"/v1/activity/{listed['call_id']}")).json()

    assert listed["arguments"] == alone["arguments"] == {"title": 1}


async def test_an_upload_is_indexed_found_handed_out_and_deleted(doors: Doors) -> None:
    client = await doors.client()

    uploaded = await upload(client, ("letters.md", LETTER, "text/markdown"))
    document = uploaded.json()["items"][0]
    path = f"/v1/knowledge/documents/{document['document_id']}"
    assert uploaded.headers["location"] == path
    assert (uploaded.status_code, document["status"], document["title"]) == (201, "ready", "letters.md")
    found = (await client.post("/v1/knowledge/search", json={"query": "who signs the letter", "mode": "hybrid"})).json()
    assert found["mode"] == "lexical"
    assert found["items"][0]["document_id"] == document["document_id"]
    content = await client.get(f"{path}/content")
    assert content.content == LETTER
    assert content.headers["content-disposition"] == "attachment; filename*=UTF-8''letters.md"
    assert content.headers["content-security-policy"].startswith("sandbox")
    assert [item["title"] for item in (await client.get("/v1/knowledge/documents")).json()["items"]] == ["letters.md"]
    assert (await client.delete(path)).status_code == 204
    problem_of(await client.get(path), 404, "not_found")
    problem_of(await client.get(f"{path}/content"), 404, "document_not_found")
    calls = {item["tool"] for item in (await client.get("/v1/activity")).json()["items"]}
    assert {"document_upload", "knowledge_search", "document_content", "document_delete"} <= calls


async def test_what_was_deleted_is_listed_to_whom_it_concerns_and_comes_back(doors: Doors) -> None:
    employee, partner, reader = [await doors.client(f"{who}@acme") for who in ("employee", "partner", "readonly")]
    own = (await upload(employee, ("own.md", LETTER, "text/markdown"))).json()["items"][0]["document_id"]
    theirs = (await upload(partner, ("theirs.md", b"# Fees\n\nOf 2026.", "text/markdown"))).json()["items"][0][
        "document_id"
    ]
    for document_id in (own, theirs):
        assert (await partner.delete(f"/v1/knowledge/documents/{document_id}")).status_code == 204

    async def listed(client: httpx.AsyncClient) -> list[str]:
        answer = await client.get("/v1/knowledge/deleted-documents")
        assert answer.status_code == 200
        return [item["document_id"] for item in answer.json()["items"]]

    assert (await listed(employee), await listed(partner), await listed(reader)) == ([own], [theirs, own], [])
    page = (await partner.get("/v1/knowledge/deleted-documents", params={"limit": 1})).json()
    behind = await partner.get("/v1/knowledge/deleted-documents", params={"limit": 1, "cursor": page["next_cursor"]})
    assert [item["document_id"] for item in behind.json()["items"]] == [own]
    assert page["restore_days"] == 30
    restore = "/v1/knowledge/documents/{}/restore"
    problem_of(await employee.post(restore.format(theirs)), 422, "not_your_document")
    problem_of(await reader.post(restore.format(own)), 403, "denied")
    back = await employee.post(restore.format(own))
    assert (back.status_code, back.json()["document_id"]) == (202, own)
    assert (await listed(employee), await listed(partner)) == ([], [theirs])
    problem_of(await employee.post(restore.format(own)), 404, "document_not_found")
    recorded = (await employee.get(f"/v1/activity/{back.headers['x-call-id']}")).json()
    assert (recorded["tool"], recorded["outcome"]) == ("document_restore", "done")


async def test_whose_words_a_document_holds_is_said_anew_and_shown(doors: Doors) -> None:
    employee, partner, reader = [await doors.client(f"{who}@acme") for who in ("employee", "partner", "readonly")]
    own = (await upload(employee, ("own.md", LETTER, "text/markdown"))).json()["items"][0]
    theirs = (await upload(partner, ("theirs.md", b"# Fees\n\nOf 2026.", "text/markdown"))).json()["items"][0]
    path, other = [f"/v1/knowledge/documents/{each['document_id']}" for each in (own, theirs)]
    assert own["trust"] == "external"
    said = await employee.put(f"{path}/trust", json={"trust": "internal"})
    assert (said.status_code, said.json()["document_id"], said.json()["trust"]) == (200, own["document_id"], "internal")
    assert (await reader.get(path)).json()["trust"] == "internal"
    recorded = (await employee.get(f"/v1/activity/{said.headers['x-call-id']}")).json()
    assert (recorded["tool"], recorded["decision"], recorded["outcome"]) == ("document_trust_set", "allow", "done")
    assert recorded["arguments"] == {"document_id": own["document_id"], "trust": "internal"}

    problem_of(await employee.put(f"{other}/trust", json={"trust": "internal"}), 422, "not_your_document")
    problem_of(await reader.put(f"{path}/trust", json={"trust": "client"}), 403, "denied")
    problem_of(await employee.put(f"{path}/trust", json={"trust": "mine"}), 422, "invalid_arguments")
    nothing = await employee.put(f"/v1/knowledge/documents/{uuid4()}/trust", json={"trust": "client"})
    problem_of(nothing, 404, "document_not_found")
    twin = (await upload(employee, ("own.md", LETTER, "text/markdown"))).json()["items"][0]
    assert twin["document_id"] != own["document_id"]
    problem_of(await employee.put(f"{path}/trust", json={"trust": "external"}), 409, "trust_conflict")
    mail = b"From: a@evil.example\r\nTo: b@acme.example\r\nSubject: Hello\r\n\r\nPay.\r\n"
    letter = (await upload(employee, ("a.eml", mail, "message/rfc822"))).json()["items"][0]["document_id"]
    problem_of(
        await partner.put(f"/v1/knowledge/documents/{letter}/trust", json={"trust": "internal"}), 422, "trust_fixed"
    )


async def test_the_record_names_the_very_file_that_is_handed_out(doors: Doors) -> None:
    client = await doors.client()
    whole = b"A line of a long report.\n" * 40_000

    document = (await upload(client, ("report.txt", whole, "text/plain"))).json()["items"][0]
    sent = await client.get(f"/v1/knowledge/documents/{document['document_id']}/content")

    recorded = (await client.get(f"/v1/activity/{sent.headers['x-call-id']}")).json()
    assert (recorded["tool"], recorded["decision"], recorded["outcome"]) == ("document_content", "allow", "done")
    assert recorded["result"]["content_sha256"] == hashlib.sha256(sent.content).hexdigest()
    assert recorded["result"]["size_bytes"] == len(sent.content) == len(whole)


async def test_a_file_that_could_not_be_read_is_handed_out_all_the_same(doors: Doors) -> None:
    client = await doors.client()

    document = (await upload(client, ("a.pdf", b"%PDF-1.7\nnot really", "application/pdf"))).json()["items"][0]
    sent = await client.get(f"/v1/knowledge/documents/{document['document_id']}/content")

    assert (document["status"], sent.status_code, sent.content) == ("failed", 200, b"%PDF-1.7\nnot really")


async def test_a_file_that_was_altered_where_it_is_stored_is_not_handed_out(
    doors: Doors, superuser_connection: Connection
) -> None:
    client = await doors.client()
    document = (await upload(client, ("letters.md", LETTER, "text/markdown"))).json()["items"][0]
    await superuser_connection.execute("SET session_replication_role = replica")  # without the ticket's trigger
    altered = "UPDATE knowledge_files SET content = $2 WHERE document_id = $1"
    await superuser_connection.execute(altered, UUID(document["document_id"]), LETTER.replace(b"partner", b"nobody!"))

    answer = await client.get(f"/v1/knowledge/documents/{document['document_id']}/content")

    problem_of(answer, 502, "content_differs")


async def test_several_files_become_documents_each_and_a_bad_one_is_told_apart(doors: Doors) -> None:
    client = await doors.client()

    answer = await upload(client, ("a.md", LETTER, "text/markdown"), ("b.rar", b"Rar!\x1a\x07", "application/vnd.rar"))

    good, bad = answer.json()["items"]
    assert (answer.status_code, good["status"]) == (201, "ready")
    assert answer.headers["location"] == f"/v1/knowledge/documents/{good['document_id']}"
    assert (bad["title"], bad["outcome"], bad["error"]["code"]) == ("b.rar", "invalid", "unsupported_format")


async def test_only_bad_files_are_a_problem(doors: Doors) -> None:
    answer = await upload(await doors.client(), ("b.rar", b"Rar!\x1a\x07", "application/vnd.rar"))

    problem = problem_of(answer, 415, "unsupported_format")
    assert problem["outcome"] == "invalid"
    assert "compressed archive of another kind; pack it as a ZIP" in str(problem["detail"])


async def test_what_lies_inside_of_an_archive_becomes_documents_that_are_listed_and_deleted_with_it(
    doors: Doors,
) -> None:
    client = await doors.client()
    content = packed({"2026/letter.md": LETTER, "run.exe": b"MZ\x90"})

    (archive,) = (await upload(client, ("client.zip", content, "application/zip"))).json()["items"]
    assert (archive["status"], archive["media_type"]) == ("ready", "application/zip")
    assert archive["note"] == "1 file in it was not taken in: run.exe (it is a program)"
    inside = {"parent_id": archive["document_id"]}
    (letter,) = (await client.get("/v1/knowledge/documents", params=inside)).json()["items"]
    assert (letter["title"], letter["parent_id"]) == ("2026/letter.md", archive["document_id"])
    handed_out = await client.get(f"/v1/knowledge/documents/{letter['document_id']}/content")
    assert handed_out.content == LETTER

    assert (await client.delete(f"/v1/knowledge/documents/{archive['document_id']}")).status_code == 204
    problem_of(await client.get(f"/v1/knowledge/documents/{letter['document_id']}"), 404, "not_found")


async def test_a_vector_search_without_embeddings_says_so(doors: Doors) -> None:
    client = await doors.client()

    answer = await client.post("/v1/knowledge/search", json={"query": "letters", "mode": "vector"})

    problem_of(answer, 422, "no_embeddings")


@pytest.mark.parametrize(
    "fields", [{"title": ""}, {"audience": "world"}, {"engagement_id": "x"}, {"trust": "ours"}, {"surprise": "x"}]
)
async def test_odd_fields_of_an_upload_are_refused(doors: Doors, fields: dict[str, str]) -> None:
    client = await doors.client()

    answer = await client.post("/v1/knowledge/documents", data=fields, files={"file": ("a.md", LETTER)})

    problem_of(answer, 422, "invalid_request")


async def test_whoever_uploads_says_whose_words_a_file_holds(doors: Doors) -> None:
    client = await doors.client()
    given: list[tuple[dict[str, str], str]] = [({}, "external"), ({"trust": "client"}, "client")]

    for fields, trust in (*given, ({"trust": "internal"}, "internal")):
        answer = await client.post("/v1/knowledge/documents", data=fields, files={"file": ("a.md", LETTER)})
        assert [item["trust"] for item in answer.json()["items"]] == [trust]


async def test_odd_forms_are_refused(doors: Doors) -> None:
    client = await doors.client()
    kinds = "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 90

    for kind in kinds:
        answer = await client.post("/v1/knowledge/documents", content=b"--x", headers={"Content-Type": kind})
        problem_of(answer, 400, "malformed_multipart")
    for body in (
        b"",
        b"--x",
        b"garbage",
        b"--x\r\n\r\n\r\n--x--",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
    ):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await client.post("/v1/knowledge/documents", content=body, headers=headers)
        assert answer.status_code in (400, 422), body
    many = [("files", (f"{n}.txt", b"x")) for n in range(21)]
    problem_of(await client.post("/v1/knowledge/documents", files=many), 400, "malformed_multipart")
    problem_of(await client.post("/v1/knowledge/documents", files={"f": ("", b"x")}), 422, "invalid_request")


async def test_a_file_beyond_the_limit_is_refused(doors: Doors) -> None:
    client = await doors.client()

    answer = await upload(client, ("large.txt", b"x" * (50 * 1024 * 1024 + 1), "text/plain"))

    problem_of(answer, 413, "too_large")


async def upload(client: httpx.AsyncClient, *files: tuple[str, bytes, str]) -> httpx.Response:
    return await client.post(
        "/v1/knowledge/documents", params={"wait": "true"}, files=[("files", file) for file in files]
    )
