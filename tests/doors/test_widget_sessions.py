"""A widget's session: who may begin one and for which page, and what its token opens, over every route there is."""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest

from server.app import AppOptions
from server.tokens import Audience
from server.widget.sessions import LIFETIME
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, SLUGS, Doors, in_a_task, opened_doors, problem_of

Json = dict[str, Any]

SITE = "https://intranet.example"
OTHER_SITE = "https://portal.example"
EVIL = "https://evil.example"

OPEN_TO_WIDGETS = {
    ("POST", "/v1/chat"),
    ("GET", "/v1/runs/{run_id}"),
    ("GET", "/v1/runs/{run_id}/events"),
    ("POST", "/v1/runs/{run_id}/cancel"),
    ("POST", "/v1/runs/{run_id}/regenerate"),
    ("POST", "/v1/runs/{run_id}/edit"),
    ("PUT", "/v1/runs/{run_id}/feedback"),
    ("DELETE", "/v1/runs/{run_id}/feedback"),
    ("GET", "/v1/approvals"),
    ("GET", "/v1/approvals/{approval_id}"),
    ("POST", "/v1/approvals/{approval_id}/decision"),
    ("POST", "/v1/knowledge/documents"),
}
"""Chat, one's own runs and approvals, uploads.  Source  contract.md, HTTP."""


@pytest.fixture
async def doors(database: Database) -> AsyncIterator[Doors]:
    """The application, with two sites whose pages may call it."""
    options = AppOptions(allowed_origins=(SITE, OTHER_SITE))
    async with in_a_task(opened_doors(database, app_options=options)) as opened:
        yield opened


async def begun(doors: Doors, origin: object = SITE, who: str = "employee@acme", **headers: str) -> httpx.Response:
    """The answer to one person's asking for a session."""
    client = await doors.client(who)
    return await client.post("/v1/widget/sessions", json={"origin": origin}, headers=headers)


async def widget(doors: Doors, origin: str | None = SITE, who: str = "employee@acme") -> httpx.AsyncClient:
    """A widget with a session for SITE, on a page of this origin."""
    token = (await begun(doors, who=who)).json()["token"]
    return await doors.stranger({"Authorization": f"Bearer {token}", **({} if origin is None else {"Origin": origin})})


async def test_session_is_short_and_ends_no_later_than_it_says(doors: Doors) -> None:
    answer = await begun(doors)
    assert answer.status_code == 200
    assert answer.json().keys() == {"token", "expires_at"}
    credential = doors.hub.tokens.read(answer.json()["token"])
    assert (credential.audience, credential.organization, credential.origin) == ("widget", "acme-audit", SITE)
    assert credential.expires_at == datetime.fromisoformat(answer.json()["expires_at"])
    assert timedelta(minutes=14) < credential.expires_at - datetime.now(UTC) <= LIFETIME
    assert answer.headers["cache-control"] == "no-store"


async def test_session_does_not_outlive_the_token_it_was_begun_with(doors: Doors) -> None:
    own = await doors.token("employee@acme", lifetime=timedelta(minutes=2))
    client = await doors.stranger({"Authorization": f"Bearer {own}"})
    answer = await client.post("/v1/widget/sessions", json={"origin": SITE})
    ends = doors.hub.tokens.read(answer.json()["token"]).expires_at
    assert ends <= doors.hub.tokens.read(own).expires_at


@pytest.mark.parametrize("origin", [SITE, OTHER_SITE, PUBLIC_URL, "HTTPS://Intranet.Example:443/"])
async def test_session_is_begun_for_a_site_that_is_let_in_and_for_the_hub_itself(doors: Doors, origin: str) -> None:
    assert (await begun(doors, origin)).status_code == 200


@pytest.mark.parametrize("origin", [EVIL, "https://intranet.example.evil.example", "http://intranet.example"])
async def test_session_for_a_site_that_is_not_let_in_is_refused(doors: Doors, origin: str) -> None:
    problem_of(await begun(doors, origin), 403, "origin_not_allowed")


@pytest.mark.parametrize("origin", ["", "null", "*", "https://*.example", f"{SITE}/path", "x" * 400, 7, None])
async def test_session_for_what_is_no_origin_is_invalid(doors: Doors, origin: object) -> None:
    problem_of(await begun(doors, origin), 422, "invalid_request")


async def test_page_begins_a_session_for_itself_only(doors: Doors) -> None:
    assert (await begun(doors, Origin=SITE)).status_code == 200
    assert (await begun(doors, Origin=PUBLIC_URL)).status_code == 200
    problem_of(await begun(doors, Origin=OTHER_SITE), 403, "wrong_origin")


@pytest.mark.parametrize("audience", ["mcp", "service", "widget"])
async def test_only_a_persons_own_token_begins_a_session(doors: Doors, audience: Audience) -> None:
    client = await doors.client("employee@acme", audience)
    problem_of(await client.post("/v1/widget/sessions", json={"origin": SITE}), 403, "wrong_audience")


async def test_session_does_not_prolong_itself(doors: Doors) -> None:
    answer = await (await widget(doors)).post("/v1/widget/sessions", json={"origin": SITE})
    problem_of(answer, 403, "wrong_audience")


async def test_service_account_gets_no_session(doors: Doors) -> None:
    service = await doors.hub.identities.service_account(SLUGS["acme"])
    assert service is not None
    token = doors.hub.tokens.sign(service, SLUGS["acme"], "api", timedelta(hours=1))
    client = await doors.stranger({"Authorization": f"Bearer {token}"})
    problem_of(await client.post("/v1/widget/sessions", json={"origin": SITE}), 403, "person_required")


# What the token opens -------------------------------------------------------------------------------------------------


async def routes(doors: Doors) -> set[tuple[str, str]]:
    """Every route of the interface that asks for a token, by method and path."""
    document = (await (await doors.stranger()).get("/openapi.json")).json()
    paths = cast("Mapping[str, Mapping[str, Any]]", document["paths"])
    return {
        (method.upper(), path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if path.startswith("/v1/") and "security" in operation
    }


async def asked(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    """A request to a route, whose ids are of nothing and whose body is empty."""
    filled = re.sub(r"\{[a-z_]*id\}", str(uuid4()), path)
    filled = filled.replace("{name}", "task_create").replace("{report}", "tool_use")
    body: Json | None = {} if method in ("POST", "PUT", "PATCH") else None
    return await client.request(method, re.sub(r"\{\w+\}", "x", filled), json=body)


async def test_widget_opens_chat_runs_approvals_and_uploads_and_no_other_route(doors: Doors) -> None:
    client = await widget(doors)
    everything = await routes(doors)
    assert everything > OPEN_TO_WIDGETS
    for method, path in sorted(everything):
        answer = await asked(client, method, path)
        code = answer.json().get("code")
        opened = (method, path) in OPEN_TO_WIDGETS
        assert (code == "wrong_audience") != opened, (method, path, answer.status_code, code)
        assert answer.status_code < 500, (method, path)


@pytest.mark.parametrize("origin", [None, OTHER_SITE, EVIL, "null", PUBLIC_URL, f"{SITE}:8443", f"{SITE}/"])
async def test_widget_token_from_another_page_or_from_none_opens_nothing(doors: Doors, origin: str | None) -> None:
    client = await widget(doors, origin)
    for method, path in sorted(OPEN_TO_WIDGETS):
        problem_of(await asked(client, method, path), 403, "wrong_origin")
    problem_of(await client.get("/v1/me"), 403, "wrong_audience")


async def test_several_origins_are_none(doors: Doors) -> None:
    client = await widget(doors, None)
    for origins in ((SITE, EVIL), (EVIL, SITE), (SITE, SITE)):
        headers = [*client.headers.items(), *(("Origin", origin) for origin in origins)]
        problem_of(await client.get("/v1/approvals", headers=headers), 403, "wrong_origin")


async def test_stolen_session_that_decides_is_recorded_as_denied(doors: Doors) -> None:
    client = await widget(doors, EVIL)
    answer = await client.post(f"/v1/approvals/{uuid4()}/decision", json={"decision": "approve"})
    problem = problem_of(answer, 403, "wrong_origin")
    record = (await (await doors.client("partner@acme")).get(f"/v1/activity/{problem['call_id']}")).json()
    assert (record["tool"], record["door"], record["outcome"]) == ("approval_decide", "widget", "denied")
    assert record["reasons"] == ["wrong_origin"]


async def test_session_for_the_hubs_own_page_needs_no_origin_where_the_browser_says_it_is_the_same(
    doors: Doors,
) -> None:
    token = (await begun(doors, PUBLIC_URL)).json()["token"]
    client = await doors.stranger({"Authorization": f"Bearer {token}"})
    problem_of(await client.get("/v1/approvals"), 403, "wrong_origin")
    assert (await client.get("/v1/approvals", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200
    problem_of(await client.get("/v1/approvals", headers={"Sec-Fetch-Site": "cross-site"}), 403, "wrong_origin")


async def test_token_bound_to_no_page_is_of_use_to_no_other_sites_page(doors: Doors) -> None:
    client = await doors.client("employee@acme", "widget")
    assert (await client.get("/v1/approvals")).status_code == 200
    assert (await client.get("/v1/approvals", headers={"Origin": PUBLIC_URL})).status_code == 200
    problem_of(await client.get("/v1/approvals", headers={"Origin": SITE}), 403, "wrong_origin")


async def test_what_is_said_in_a_widget_is_the_agents_and_what_is_pressed_is_the_persons(doors: Doors) -> None:
    client = await widget(doors, who="employee@borealis")
    run = (await client.post("/v1/chat", json={"message": "Create a task to call the Tolvarren controller"})).json()
    (waiting,) = run["approvals"]
    decided = await client.post(f"/v1/approvals/{waiting['approval_id']}/decision", json={"decision": "approve"})
    assert decided.json()["state"] == "executed"
    record = (await (await doors.client("employee@borealis")).get("/v1/activity")).json()["items"]
    seen = {(item["tool"], item["door"], item["mode"]) for item in record}
    assert seen == {("task_create", "widget", "agent"), ("approval_decide", "widget", "person")}


async def test_widget_sees_and_decides_only_what_its_own_person_asked_for(doors: Doors) -> None:
    theirs = await doors.client("employee@borealis")
    run = (await theirs.post("/v1/chat", json={"message": "Create a task to call the Tolvarren controller"})).json()
    path = f"/v1/approvals/{run['approvals'][0]['approval_id']}"
    client = await widget(doors, who="manager@borealis")
    assert (await client.get("/v1/approvals")).json()["items"] == []
    problem_of(await client.get(path), 404, "not_found")
    problem = problem_of(await client.post(f"{path}/decision", json={"decision": "approve"}), 403, "not_own_approval")
    own_hand = await doors.client("manager@borealis")
    record = (await own_hand.get(f"/v1/activity/{problem['call_id']}")).json()
    assert (record["tool"], record["door"], record["outcome"]) == ("approval_decide", "widget", "denied")
    assert record["reasons"] == ["not_own_approval"]
    assert [item["state"] for item in (await own_hand.get("/v1/approvals")).json()["items"]] == ["pending"]
    decided = await own_hand.post(f"{path}/decision", json={"decision": "approve"})
    assert decided.json()["state"] == "executed"


async def test_widget_sees_the_runs_of_its_own_person_only(doors: Doors) -> None:
    theirs = await doors.client("partner@acme")
    run = (await theirs.post("/v1/chat", json={"message": "what may you do on your own?"})).json()["run_id"]
    client = await widget(doors)
    for path in (f"/v1/runs/{run}", f"/v1/runs/{run}/events"):
        problem_of(await client.get(path), 404, "not_found")


async def test_a_session_is_heard_by_its_site_and_by_no_other(doors: Doors) -> None:
    allowed, refused = await begun(doors, Origin=SITE), await begun(doors, SITE, Origin=EVIL)
    assert allowed.headers["access-control-allow-origin"] == SITE
    assert "access-control-allow-credentials" not in allowed.headers
    assert "access-control-allow-origin" not in refused.headers
