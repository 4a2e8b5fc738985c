"""An organization's own policies over REST: tried, put in force, listed and taken back by an administrator's hand."""

from tests.support.doors import Doors, problem_of

TASK = {"title": "Count the chairs"}
NO_TASKS = (
    '@id("no_tasks_here") @says("Tasks are made at the desk.")\n'
    'forbid (principal, action == Action::"call", resource == Tool::"task_create")\n'
    'when { principal.door == Door::"rest" };'
)
PUT = {"text": NO_TASKS, "reason": "the partners' meeting"}


async def test_a_policy_is_tried_put_in_force_listed_and_taken_back(doors: Doors) -> None:
    admin, employee = await doors.client("admin@acme"), await doors.client("employee@acme")
    other = await doors.client("employee@borealis")
    assert (await employee.post("/v1/tasks", json=TASK)).status_code == 201

    tried = (await admin.post("/v1/policies/try", json={"text": NO_TASKS})).json()
    assert (tried["changed"], tried["differences"][0]["after"]["reasons"]) == (1, ["no_tasks_here"])
    assert (await admin.get("/v1/policies")).json() == {"items": [], "next_cursor": None}

    added = await admin.post("/v1/policies", json=PUT)
    assert added.status_code == 201, added.text
    assert (added.json()["tried"]["changed"], added.json()["policy"]["decision"]) == (1, "deny")
    refused = problem_of(await employee.post("/v1/tasks", json=TASK), 403, "denied")
    assert refused["verdict"] == {"decision": "deny", "reasons": ["no_tasks_here"]}
    assert (await other.post("/v1/tasks", json=TASK)).status_code == 201

    (item,) = (await employee.get("/v1/policies")).json()["items"]
    assert item == added.json()["policy"]
    assert (item["changed_by"], item["reason"], item["text"]) == ("admin@acme.example", PUT["reason"], NO_TASKS)
    problem_of(await admin.post("/v1/policies", json=PUT), 409, "policy_exists")
    assert (await admin.post("/v1/policies", json={**PUT, "replace": True})).status_code == 201

    path = "/v1/policies/no_tasks_here"
    problem_of(await admin.delete(path), 422, "invalid_request")
    removed = (await admin.delete(path, params={"reason": "it was too much"})).json()
    assert (removed["change"], removed["policies_digest"]) == ("removed", None)
    problem_of(await admin.delete(path, params={"reason": "again"}), 404, "policy_not_found")
    assert (await employee.post("/v1/tasks", json=TASK)).status_code == 201

    changes = (await admin.get("/v1/policies/changes", params={"limit": 2})).json()
    assert [each["change"] for each in changes["items"]] == ["removed", "added"]
    rest = (await admin.get("/v1/policies/changes", params={"cursor": changes["next_cursor"]})).json()
    assert [each["change"] for each in rest["items"]] == ["added"]


async def test_policies_are_paged_by_their_ids_and_shown_to_no_client_and_no_other_firm(doors: Doors) -> None:
    admin = await doors.client("admin@acme")
    for name in ("b_second", "a_first", "c_third"):
        text = NO_TASKS.replace("no_tasks_here", name)
        assert (await admin.post("/v1/policies", json={**PUT, "text": text})).status_code == 201
    page = (await admin.get("/v1/policies", params={"limit": 2})).json()
    assert [each["policy_id"] for each in page["items"]] == ["a_first", "b_second"]
    rest = (await admin.get("/v1/policies", params={"cursor": page["next_cursor"]})).json()
    assert ([each["policy_id"] for each in rest["items"]], rest["next_cursor"]) == (["c_third"], None)
    for who in ("client@acme", "admin@borealis"):
        client = await doors.client(who)
        assert (await client.get("/v1/policies")).json()["items"] == []
        assert (await client.get("/v1/policies/changes")).json()["items"] == []


async def test_who_may_not_change_policies_is_told_and_what_is_none_is_refused_in_words(doors: Doors) -> None:
    admin, partner = await doors.client("admin@acme"), await doors.client("partner@acme")
    refused = problem_of(await partner.post("/v1/policies", json=PUT), 403, "denied")
    assert refused["verdict"] == {"decision": "deny", "reasons": ["role_too_low"]}
    problem_of(await partner.delete("/v1/policies/x", params={"reason": "no"}), 403, "denied")
    permits = {**PUT, "text": NO_TASKS.replace("forbid", "permit")}
    problem = problem_of(await admin.post("/v1/policies", json=permits), 422, "policy_unusable")
    assert "it permits" in str(problem["detail"])
    problem_of(await admin.post("/v1/policies", json={**PUT, "text": "("}), 422, "policy_unusable")
    problem_of(await admin.post("/v1/policies", json={**PUT, "text": "[" * 3999}), 422, "policy_unusable")
    problem_of(await admin.post("/v1/policies", json={**PUT, "text": "x" * 4001}), 422, "invalid_arguments")
    problem_of(await admin.post("/v1/policies", json={"text": NO_TASKS}), 422, "invalid_arguments")
    problem_of(await admin.post("/v1/policies/try", json={"remove": "nobody"}), 404, "policy_not_found")


async def test_a_read_that_a_person_is_asked_about_answers_that_it_waits(doors: Doors) -> None:
    admin, employee = await doors.client("admin@acme"), await doors.client("employee@acme")
    text = NO_TASKS.replace('Action::"call"', 'Action::"call_without_approval"').replace(
        "task_create", "knowledge_search"
    )
    assert (await admin.post("/v1/policies", json={**PUT, "text": text})).status_code == 201
    asked = await employee.post("/v1/knowledge/search", json={"query": "bank"}, headers={"Idempotency-Key": "once"})
    assert (asked.status_code, asked.json()["outcome"]) == (202, "waiting")
    again = await employee.post("/v1/knowledge/search", json={"query": "bank"}, headers={"Idempotency-Key": "once"})
    assert again.json()["approval_id"] == asked.json()["approval_id"]
    path = f"/v1/approvals/{asked.json()['approval_id']}/decision"
    problem_of(await employee.post(path, json={"decision": "approve"}), 403, "denied")
    partner = await doors.client("partner@acme")
    decided = (await partner.post(path, json={"decision": "approve"})).json()
    assert decided["call"]["outcome"] == "done"
    assert (await employee.get(f"/v1/activity/{asked.json()['call_id']}")).json()["outcome"] == "done"
