"""The interface's own document: it is what is checked in, and what every answer holds to."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from typing import cast
from uuid import uuid4

import httpx
import jsonschema_rs
import orjson
import pytest

from domain.kernel import utc_now
from domain.resources import resource_folder
from server.database.connection import Connection
from server.http.bodies import Json
from server.hub import HubOptions
from server.openapi import openapi_document
from server.rest.docs import page_of
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors
from tests.support.earned import PROPOSED
from tests.support.open_calls import left_open
from tests.support.website import Said, Website, website

PUBLIC = {("get", "/health"), ("get", "/readiness"), ("get", "/v1/downloads")}


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    """A site of its own, of one page."""
    async with in_a_task(
        website({"/leases": Said(content=b"<p>Leases</p>", headers={"Content-Type": "text/html"})})
    ) as said:
        yield said


@pytest.fixture
async def doors(database: Database, site: Website) -> AsyncIterator[Doors]:
    """The application, to which the site is open."""
    async with in_a_task(opened_doors(database, HubOptions(fetcher=site.fetcher()))) as opened:
        yield opened


@pytest.fixture(scope="module")
def document() -> Json:
    return openapi_document()


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in cast("dict[str, dict[str, Json]]", document["paths"]).items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_copy_that_is_checked_in_is_what_the_server_says(document: Json) -> None:
    copy = (resource_folder("manifests").parent / "docs" / "openapi.json").read_bytes()

    assert orjson.loads(copy) == orjson.loads(orjson.dumps(document))


def test_every_operation_has_words_its_refusals_and_a_credential(document: Json) -> None:
    for method, path, operation in operations(document):
        responses = cast("dict[str, Json]", operation["responses"])
        assert operation.get("description"), (method, path)
        if (method, path) in PUBLIC:
            assert "security" not in operation
            continue
        assert operation["security"] == [{"bearer": []}]
        assert {"401", "403", "503"} <= set(responses), (method, path)
        for status, response in responses.items():
            if status >= "400":
                assert list(cast(Json, response["content"])) == ["application/problem+json"], (method, path, status)


def test_every_body_is_shown_with_its_schema(document: Json) -> None:
    with_body = {(method, path) for method, path, operation in operations(document) if "requestBody" in operation}

    taking = {(method, path) for method, path, _ in operations(document) if method in ("post", "patch", "put")}
    without = {f"/v1/runs/{{run_id}}/{act}" for act in ("cancel", "regenerate")}
    without |= {"/v1/knowledge/sources/{source_id}/sync"}
    without |= {f"/v1/knowledge/documents/{{document_id}}/{act}" for act in ("link", "restore")}
    assert with_body == taking - {("post", path) for path in without}
    chat = next(operation for _, path, operation in operations(document) if path == "/v1/chat")
    assert '"required":["message"]' in orjson.dumps(chat["requestBody"]).decode()


def test_every_reference_in_it_leads_somewhere(document: Json) -> None:
    text = orjson.dumps(document).decode()

    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names <= set(cast(Json, cast(Json, document["components"])["schemas"]))
    assert "x-glow-result" not in text


def test_the_page_shows_every_operation_and_nothing_of_it_runs(document: Json) -> None:
    shown = page_of(document)

    for _, path, _ in operations(document):
        assert path in shown
    assert "<script" not in shown
    assert "http://" not in shown
    assert "https://" not in shown


class Holding:
    """Checks each answer against what the document says of its route and status."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self.seen: set[tuple[str, str, int]] = set()

    async def __call__(self, answer: httpx.Response) -> None:
        await answer.aread()
        method, path = answer.request.method.lower(), self._template(answer.request.url.path)
        self.seen.add((method, path, answer.status_code))
        operation = cast("dict[str, dict[str, Json]]", self._document["paths"])[path][method]
        response = cast("dict[str, Json]", operation["responses"])[str(answer.status_code)]
        content = cast("Mapping[str, Json]", response.get("content", {}))
        media_type = answer.headers.get("content-type", "").split(";")[0]
        if media_type.endswith(("/json", "+json")):
            self._hold(cast(Json, content[media_type]["schema"]), answer.json())

    def _template(self, path: str) -> str:
        templates = cast("dict[str, object]", self._document["paths"])
        return next(each for each in templates if re.fullmatch(re.sub(r"{\w+}", "[^/]+", each), path))

    def _hold(self, schema: Json, answer: object) -> None:
        whole = {**schema, "components": self._document["components"]}
        faults = [fault.message for fault in jsonschema_rs.Draft202012Validator(whole).iter_errors(answer)]
        assert faults == [], (schema.get("title"), faults, answer)


async def _what_is_scheduled(client: httpx.AsyncClient, task_id: str) -> None:
    schedule = (await client.post("/v1/schedules", json={"task_id": task_id, "cron": "0 7 * * *"})).json()
    path = f"/v1/schedules/{schedule['schedule_id']}"
    await client.get("/v1/schedules")
    await client.get(path)
    await client.patch(path, json={"paused": True})
    await client.delete(path)


async def _who_stands_in(client: httpx.AsyncClient) -> None:
    ends_at = (utc_now() + timedelta(days=7)).date().isoformat()
    given = (await client.post("/v1/delegations", json={"delegate": "manager@acme.example", "ends_at": ends_at})).json()
    path = f"/v1/delegations/{given['delegation_id']}"
    await client.get("/v1/delegations")
    await client.get(path)
    await client.delete(path)


async def _what_is_kept_like_a_site(client: httpx.AsyncClient, url: str) -> None:
    asked = {"kind": "web", "name": "Leases", "settings": {"urls": [url]}}
    source = (await client.post("/v1/knowledge/sources", json=asked)).json()
    path = f"/v1/knowledge/sources/{source['source_id']}"
    await client.get("/v1/knowledge/sources")
    await client.patch(path, json={"name": "Leases of flats", "settings": {"pages": 5}, "cron": "0 7 * * *"})
    await client.get(path)
    await client.post(f"{path}/sync")
    await client.get(f"{path}/changes")
    await client.delete(path)


async def _what_was_left_open(client: httpx.AsyncClient, inspector: Connection) -> None:
    await client.post("/v1/tasks", json={"title": "Write"})
    call_id = await left_open(inspector)
    await client.get("/v1/open-calls")
    stated = {"happened": True, "statement": "Letter 4711, says the post's book."}
    await client.post(f"/v1/open-calls/{call_id}/conclusion", json=stated)


OWN_POLICY = (
    '@id("no_such_door") @says("Nobody comes this way.") '
    'forbid (principal, action == Action::"call", resource == Tool::"task_remind") when { !principal.attended };'
)


async def _what_is_the_organizations_own(doors: Doors, holding: Holding) -> None:
    client = await doors.client("admin@acme")
    client.event_hooks["response"].append(holding)
    await client.post("/v1/policies/try", json={"text": OWN_POLICY})
    await client.post("/v1/policies", json={"text": OWN_POLICY, "reason": "to see it listed"})
    await client.get("/v1/policies")
    await client.delete("/v1/policies/no_such_door", params={"reason": "it was seen"})
    await client.get("/v1/policies/changes")


async def _what_may_be_spent(client: httpx.AsyncClient) -> None:
    calls = {"scope": "organization", "measure": "calls", "effect": "irreversible", "limit": 200, "reason": "to see it"}
    await client.put("/v1/budgets", json=calls)
    await client.get("/v1/budgets")
    await client.get("/v1/budgets/settings")


async def _what_is_proposed(client: httpx.AsyncClient, owner: Connection) -> None:
    path = f"/v1/autonomy/proposals/{await owner.fetchval(PROPOSED, 'acme-audit')}"
    await client.get("/v1/autonomy/records")
    await client.get("/v1/autonomy/proposals")
    await client.get(path)
    await client.post(f"{path}/decision", json={"decision": "reject", "comment": "Not yet."})


async def _what_changes(client: httpx.AsyncClient, task_id: str, origin: str) -> None:
    tasks = (await client.get("/v1/tasks", params={"limit": 100})).json()["items"]
    engagement = next(each["engagement_id"] for each in tasks if "engagement_id" in each)
    control = {"control": "plan_freeze", "engagement_id": engagement}
    signed = {
        "engagement_id": engagement,
        "kind": "PLAN_REVIEW",
        "decision": "accept",
        "subject": "Plan",
        "version": "1",
    }
    setting = {"scope": "organization", "level": "L2", "reason": "as it was"}
    await client.patch(f"/v1/tasks/{task_id}", json={"title": "z"})
    await client.post("/v1/release-controls/check", json=control)
    await client.get("/v1/release-controls/plan_freeze", params={"engagement_id": engagement})
    await client.post("/v1/sign-offs", json=signed)
    await client.put("/v1/autonomy/settings", json=setting)
    await client.get("/v1/autonomy/settings")
    await client.get("/v1/agents")
    kept = (await client.post("/v1/me/preferences", json={"words": "Call me Freja."})).json()["preference_id"]
    await client.patch(f"/v1/me/preferences/{kept}", json={"words": "Call me Ms Borg."})
    await client.get("/v1/me/preferences")
    await client.delete(f"/v1/me/preferences/{kept}")
    await client.post("/v1/widget/sessions", json={"origin": origin})


async def _what_is_held_of_a_person(doors: Doors, client: httpx.AsyncClient, holding: Holding) -> None:
    """A person's data handed out and erased, by each route there is for it."""
    person = {"person": "readonly@acme.example"}
    await client.get("/v1/me/export")
    await client.post("/v1/privacy/export", json=person)
    asked = (await client.post("/v1/privacy/erasures", json=person)).json()
    second = await doors.client("admin@acme")
    second.event_hooks["response"].append(holding)
    decided = await second.post(f"/v1/approvals/{asked['approval_id']}/decision", json={"decision": "approve"})
    await client.get(f"/v1/privacy/erasures/{decided.json()['call']['result']['erasure_id']}")
    await client.get("/v1/privacy/erasures")


async def test_answers_hold_to_the_document(
    doors: Doors,
    document: Json,
    owner_connection: Connection,
    superuser_connection: Connection,
    site: Website,
) -> None:
    holding = Holding(document)
    client = await doors.client("partner@acme")
    client.event_hooks["response"].append(holding)
    task = (await client.post("/v1/tasks", json={"title": "x", "kind": "refresh_analytics"})).json()
    run = (await client.post(f"/v1/tasks/{task['task_id']}/runs")).json()
    chat = (await client.post("/v1/chat", json={"message": "search letters"})).json()
    files = {"file": ("letters.md", b"# Letters\n\nThey are renewed every year.")}
    document_id = (await client.post("/v1/knowledge/documents", params={"wait": "true"}, files=files)).json()["items"][
        0
    ]["document_id"]
    await client.post("/v1/knowledge/documents/from-url", json={"url": site.url("/leases")})
    await client.post("/v1/knowledge/search", json={"query": "renewed letters"})
    await client.post("/v1/tools/task_create/call", json={"arguments": {"title": "y"}})
    await client.post("/v1/tools/task_create/call", json={"arguments": {}})
    await client.post("/v1/tools/task_create/call", content=b"{")
    await client.patch(f"/v1/conversations/{chat['conversation_id']}", json={"title": "Letters"})
    call_id = (await client.get("/v1/activity")).json()["items"][0]["call_id"]
    for path in (
        "/v1/me",
        "/v1/autonomy/status",
        "/v1/conversations",
        f"/v1/conversations/{chat['conversation_id']}",
        f"/v1/conversations/{chat['conversation_id']}/messages",
        f"/v1/conversations/{chat['conversation_id']}/summaries",
        "/v1/tools",
        "/v1/tools/task_create",
        "/v1/tasks",
        f"/v1/tasks/{task['task_id']}",
        f"/v1/task-runs/{run['task_run_id']}",
        f"/v1/task-runs/{run['task_run_id']}/events",
        "/v1/approvals",
        f"/v1/approvals/{uuid4()}",
        "/v1/analytics/tool_use",
        "/v1/activity?limit=3",
        f"/v1/activity/{call_id}",
        f"/v1/activity/{call_id}/proof",
        "/v1/activity/head",
        "/v1/activity/export",
        f"/v1/runs/{chat['run_id']}",
        f"/v1/runs/{chat['run_id']}/events",
        "/v1/knowledge/documents",
        f"/v1/knowledge/documents/{document_id}",
        f"/v1/knowledge/documents/{document_id}/content",
        f"/v1/knowledge/documents/{document_id}/events",
        "/health",
        "/readiness",
    ):
        await client.get(path)
    await client.post(f"/v1/runs/{chat['run_id']}/cancel")
    await client.post(f"/v1/runs/{chat['run_id']}/regenerate")
    await client.post(f"/v1/runs/{chat['run_id']}/edit", json={"message": "search renewals"})
    await client.put(f"/v1/runs/{chat['run_id']}/feedback", json={"rating": "up"})
    await client.delete(f"/v1/runs/{chat['run_id']}/feedback")
    await client.get("/v1/feedback")
    branch = {"run_id": chat["run_id"]}
    await client.post(f"/v1/conversations/{chat['conversation_id']}/branch", json=branch)
    await _what_changes(client, task["task_id"], doors.hub.public_url)
    await _what_is_scheduled(client, task["task_id"])
    await _who_stands_in(client)
    await _what_may_be_spent(client)
    await _what_is_proposed(client, owner_connection)
    await _what_is_held_of_a_person(doors, client, holding)
    await _what_is_the_organizations_own(doors, holding)
    await _what_is_kept_like_a_site(client, site.url("/leases"))
    await _what_was_left_open(client, superuser_connection)
    await client.get((await client.post(f"/v1/knowledge/documents/{document_id}/link")).json()["url"])
    await client.delete(f"/v1/knowledge/documents/{document_id}")
    await client.get("/v1/knowledge/deleted-documents")
    await client.post(f"/v1/knowledge/documents/{document_id}/restore")
    await client.put(f"/v1/knowledge/documents/{document_id}/trust", json={"trust": "internal"})
    await client.delete(f"/v1/conversations/{chat['conversation_id']}")
    waiting = await doors.client("employee@borealis")
    waiting.event_hooks["response"].append(holding)
    answer = (await waiting.post("/v1/chat", json={"message": "create a task to refresh the analytics"})).json()
    approval_id = answer["approvals"][0]["approval_id"]
    await waiting.get(f"/v1/approvals/{approval_id}")
    await waiting.post(f"/v1/approvals/{approval_id}/decision", json={"decision": "approve"})
    # At this member's level the run's last step waits, so that it is not over before it is cancelled.
    task = (await waiting.post("/v1/tasks", json={"title": "x", "kind": "refresh_analytics"})).json()
    run = (await waiting.post(f"/v1/tasks/{task['task_id']}/runs")).json()
    await waiting.post(f"/v1/task-runs/{run['task_run_id']}/cancel")

    asked = {(method, path) for method, path, status in holding.seen if status < 300}
    assert asked == {(method, path) for method, path, _ in operations(document)}
