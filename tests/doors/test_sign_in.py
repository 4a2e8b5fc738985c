"""Signing in by an issuer's tokens: whom they are linked to, in which organization, and who may open it to whom."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from domain.kernel import utc_now
from server.auth import KEPT_FOR
from server.database.connection import Connection
from server.hub import HubOptions
from server.settings import Settings
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, Doors, opened_doors, problem_of
from tests.support.issuer import AUDIENCE, ISSUER, Issuer, Json, issuing, key, signed

KEY, NEXT = key("now"), key("next", "RS256")
EVA = "3f1c9f3e-2c1f-4f5a-8a55-9c7a8f1f0c11"
"""What the issuer calls her; no id of the hub's."""
LINKED: Json = {"issuer": ISSUER, "subject": EVA}


@dataclass(kw_only=True)
class Time:
    """The clock on the wall, set forward."""

    passed: timedelta = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.passed


@dataclass(frozen=True, kw_only=True)
class Stage:
    doors: Doors
    issuer: Issuer
    time: Time

    async def call(self, who: str, tool: str, arguments: Json) -> httpx.Response:
        """A call by hand with a token of the hub's own."""
        client = await self.doors.client(who)
        return await client.post(f"/v1/tools/{tool}/call", json={"arguments": arguments})

    async def ask(self, firm: str, role: str, **changed: str) -> httpx.Response:
        """The firm's admin asks to link Eva, or whom else is said, to the member of that role."""
        given = {**LINKED, "user": f"{role}@{firm}.example", **changed}
        return await self.call(f"admin@{firm}", "identity_link", given)

    async def decide(self, who: str, asked: httpx.Response, answer: str = "approve") -> httpx.Response:
        """Somebody's answer to what waits."""
        client = await self.doors.client(who)
        path = f"/v1/approvals/{asked.json()['approval_id']}/decision"
        return await client.post(path, json={"decision": answer})

    async def link(self, firm: str, role: str, **changed: str) -> Json:
        """How the call ended that the firm's admin asked for and its partner approved."""
        asked = await self.ask(firm, role, **changed)
        assert asked.status_code == 202, asked.text
        return done(await self.decide(f"partner@{firm}", asked))["call"]

    async def me(self, token: str | None = None, organization: str | None = None) -> httpx.Response:
        """Who a token is here."""
        headers = {"Authorization": f"Bearer {token or signed(KEY, EVA)}"}
        if organization is not None:
            headers["X-Organization"] = organization
        return await (await self.doors.stranger(headers)).get("/v1/me")


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(issuing(KEY))
        settings, time = settings_by(issuer, SecretStr("a secret of tests, 32 bytes long or more")), Time()
        opening = opened_doors(database, HubOptions(clock=time), settings=settings)
        yield Stage(doors=await stack.enter_async_context(opening), issuer=issuer, time=time)


def settings_by(issuer: Issuer, secret: SecretStr | None) -> Settings:
    """Tokens of the issuer count, and those of the hub's own secret, where it has one."""
    return Settings(
        jwt_secret=secret,
        jwks_url=issuer.url,
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
        public_url=PUBLIC_URL,
        model_api="offline",
    )


def done(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_linked_identity_is_the_member_with_the_members_own_role(stage: Stage) -> None:
    problem_of(await stage.me(), 403, "not_a_member")
    told = await stage.link("acme", "manager")
    assert told["result"] == {**LINKED, "user": "manager@acme.example"}
    me = done(await stage.me())
    assert (me["organization"], me["role"], me["mode"]) == ("acme-audit", "MANAGER", "person")


async def test_what_the_token_says_of_role_and_organization_counts_for_nothing(stage: Stage) -> None:
    await stage.link("acme", "readonly")
    token = signed(KEY, EVA, role="SYSTEM_ADMIN", autonomy="L3", app_metadata={"org": "borealis-tax"})
    assert done(await stage.me(token))["role"] == "READONLY"
    problem_of(await stage.me(signed(KEY, EVA, org="borealis-tax")), 403, "not_a_member")


async def test_a_person_of_several_organizations_says_which_and_no_other_opens(stage: Stage) -> None:
    await stage.link("acme", "manager")
    await stage.link("borealis", "employee")
    problem_of(await stage.me(), 400, "organization_required")
    for slug, role in (("acme-audit", "MANAGER"), ("borealis-tax", "EMPLOYEE")):
        me = done(await stage.me(organization=slug))
        assert (me["organization"], me["role"]) == (slug, role)
    problem_of(await stage.me(organization="nobody-and-co"), 403, "not_a_member")


async def test_an_admin_opens_no_other_firm_to_anybody(stage: Stage) -> None:
    answer = await stage.ask("acme", "manager", user="partner@borealis.example")
    problem_of(answer, 422, "assignee_not_found")
    await stage.link("acme", "manager")
    problem_of(await stage.me(organization="borealis-tax"), 403, "not_a_member")
    theirs = await stage.call("admin@borealis", "identity_unlink", LINKED)
    problem_of(theirs, 422, "not_found")
    assert done(await stage.me())["organization"] == "acme-audit"


async def test_an_identity_is_never_moved_silently_and_linking_it_again_changes_nothing(stage: Stage) -> None:
    await stage.link("acme", "manager")
    assert (await stage.link("acme", "manager", user="MANAGER@acme.example"))["outcome"] == "done"
    taken = await stage.link("acme", "partner")
    assert (taken["outcome"], taken["error"]["code"]) == ("invalid", "identity_taken")
    assert done(await stage.me())["role"] == "MANAGER"


async def test_an_unlinked_identity_is_nobody_again(stage: Stage) -> None:
    await stage.link("acme", "manager")
    assert done(await stage.call("admin@acme", "identity_unlink", LINKED))["result"]["user"] == "manager@acme.example"
    problem_of(await stage.me(), 403, "not_a_member")
    problem_of(await stage.call("admin@acme", "identity_unlink", LINKED), 422, "not_found")


async def test_no_administrator_links_anybody_else_alone(stage: Stage) -> None:
    asked = await stage.ask("acme", "eqr")
    assert (asked.status_code, asked.json()["verdict"]["reasons"]) == (202, ["linking_others_needs_approval"])
    alone = problem_of(await stage.decide("admin@acme", asked), 403, "denied")
    assert "four_eyes_needed" in str(alone)
    problem_of(await stage.decide("manager@acme", asked), 404, "approval_not_found")
    problem_of(await stage.me(), 403, "not_a_member")
    assert done(await stage.decide("partner@acme", asked))["state"] == "executed"
    assert done(await stage.me())["role"] == "EQR"


async def test_an_identity_that_a_second_person_did_not_agree_to_is_nobodys(stage: Stage) -> None:
    asked = await stage.ask("acme", "eqr")
    assert done(await stage.decide("partner@acme", asked, "reject"))["state"] == "rejected"
    problem_of(await stage.me(), 403, "not_a_member")


async def test_who_administers_the_firm_links_themselves_without_asking(stage: Stage) -> None:
    assert done(await stage.ask("acme", "admin"))["outcome"] == "done"
    assert done(await stage.me())["role"] == "SYSTEM_ADMIN"


@pytest.mark.parametrize("who", ["partner@acme", "manager@acme", "employee@acme", "client@acme", "eqr@acme"])
async def test_only_who_administers_the_firm_links(stage: Stage, who: str) -> None:
    answer = await stage.call(who, "identity_link", {**LINKED, "user": f"{who}.example"})
    assert problem_of(answer, 403, "denied")["outcome"] == "denied"
    problem_of(await stage.me(), 403, "not_a_member")


async def test_a_model_is_neither_offered_the_tools_nor_may_it_call_them(stage: Stage) -> None:
    client = await stage.doors.client("admin@acme", "service")
    answer = await client.post("/v1/tools/identity_link/call", json={"arguments": {**LINKED, "user": "a@acme.example"}})
    assert "agent_may_not" in str(problem_of(answer, 403, "denied"))


@pytest.mark.parametrize(
    "odd",
    [
        {"issuer": ""},
        {"issuer": "with space"},
        {"subject": ""},
        {"subject": "a\nb"},
        {"subject": "x" * 513},
        {"subject": "\ud800"},
        {"user": 7},
        {"organization_id": str(uuid4())},
    ],
)
async def test_odd_identities_are_refused(stage: Stage, odd: Json) -> None:
    client = await stage.doors.client("admin@acme")
    given = {"arguments": {**LINKED, "user": "manager@acme.example", **odd}}
    # json writes a lone surrogate as an escape, which the client's own encoder would not.
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/v1/tools/identity_link/call", content=json.dumps(given), headers=headers)
    assert 400 <= answer.status_code < 500, answer.text


async def test_every_link_stands_in_the_record(stage: Stage) -> None:
    call = (await stage.link("acme", "manager"))["call_id"]
    recorded = done(await (await stage.doors.client("partner@acme")).get(f"/v1/activity/{call}"))
    assert (recorded["tool"], recorded["principal"], recorded["outcome"]) == (
        "identity_link",
        "admin@acme.example",
        "done",
    )
    assert recorded["arguments"] == {**LINKED, "user": "manager@acme.example"}


async def test_a_member_who_left_is_nobody_though_the_identity_is_linked(
    stage: Stage, owner_connection: Connection
) -> None:
    await stage.link("acme", "readonly")
    assert done(await stage.me())["role"] == "READONLY"
    await owner_connection.execute("UPDATE memberships SET role = 'CLIENT' WHERE role = 'READONLY'")
    assert done(await stage.me(signed(KEY, EVA, jti="again")))["role"] == "CLIENT"


async def test_an_issuer_that_names_our_own_ids_and_organization_is_believed(stage: Stage) -> None:
    who = await stage.doors.hub.identities.principal_by_email("employee@acme.example")
    me = done(await stage.me(signed(KEY, str(who), org="acme-audit")))
    assert (me["organization"], me["role"]) == ("acme-audit", "EMPLOYEE")
    problem_of(await stage.me(signed(KEY, str(who), org="borealis-tax")), 403, "not_a_member")


@pytest.mark.parametrize("organization", [None, "borealis-tax"])
async def test_an_issuer_that_names_no_organization_names_no_user_of_the_hub(
    stage: Stage, organization: str | None
) -> None:
    who = await stage.doors.hub.identities.principal_by_email("partner@borealis.example")
    problem_of(await stage.me(signed(KEY, str(who)), organization), 403, "not_a_member")


@pytest.mark.parametrize("claims", [{}, {"org": "acme-audit"}], ids=["unnamed", "named"])
async def test_a_link_says_who_it_is_before_the_subject_itself_does(stage: Stage, claims: Json) -> None:
    who = await stage.doors.hub.identities.principal_by_email("partner@acme.example")
    await stage.link("acme", "readonly", subject=str(who))
    assert done(await stage.me(signed(KEY, str(who), **claims)))["role"] == "READONLY"


async def test_another_firms_link_is_never_chosen_beside_ones_own_and_the_person_is_told_of_it(stage: Stage) -> None:
    await stage.link("borealis", "employee")
    await stage.link("acme", "manager")
    told = problem_of(await stage.me(), 400, "organization_required")
    assert told["organizations"] == ["acme-audit", "borealis-tax"]
    assert done(await stage.me(signed(KEY, EVA, org="acme-audit")))["organization"] == "acme-audit"


async def test_whoever_names_the_firm_is_carried_to_no_other_that_linked_them_first(stage: Stage) -> None:
    await stage.link("borealis", "employee")
    problem_of(await stage.me(organization="acme-audit"), 403, "not_a_member")
    problem_of(await stage.me(signed(KEY, EVA, org="acme-audit")), 403, "not_a_member")


async def test_a_widgets_session_ends_with_the_link_that_it_was_begun_by(stage: Stage) -> None:
    await stage.link("acme", "manager")
    client = await stage.doors.stranger({"Authorization": f"Bearer {signed(KEY, EVA)}"})
    begun = done(await client.post("/v1/widget/sessions", json={"origin": PUBLIC_URL}))
    headers = {"Authorization": f"Bearer {begun['token']}", "Origin": PUBLIC_URL}
    widget = await stage.doors.stranger(headers)
    assert (await widget.get("/v1/approvals")).status_code == 200
    done(await stage.call("admin@acme", "identity_unlink", LINKED))
    stage.time.passed += KEPT_FOR
    problem_of(await widget.get("/v1/approvals"), 403, "not_a_member")


async def test_keys_are_rotated_without_anybody_being_signed_out(stage: Stage) -> None:
    await stage.link("acme", "manager")
    done(await stage.me())
    stage.issuer.keys = [KEY, NEXT]
    # The pause between two fetches has not passed since the first: what is new is not known yet, and may well be good.
    early = await stage.me(signed(NEXT, EVA))
    problem_of(early, 503, "keys_unavailable")
    assert 0 < int(early.headers["retry-after"]) <= 10
    assert done(await stage.me(signed(KEY, EVA, jti="later")))["role"] == "MANAGER"


async def test_an_issuer_that_is_away_signs_nobody_out_and_is_no_refusal(stage: Stage) -> None:
    await stage.link("acme", "manager")
    stage.issuer.status = 500
    problem = await stage.me()
    problem_of(problem, 503, "keys_unavailable")
    assert int(problem.headers["retry-after"]) > 0
    assert "www-authenticate" not in problem.headers
    assert (await (await stage.doors.client("employee@acme")).get("/v1/me")).status_code == 200


async def test_the_mcp_door_takes_its_own_audience_and_says_where_to_sign_in(stage: Stage) -> None:
    await stage.link("acme", "employee")
    stranger = await stage.doors.stranger()
    for path in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"):
        told = done(await stranger.get(path))
        assert (told["resource"], told["authorization_servers"]) == (f"{PUBLIC_URL}/mcp", [ISSUER])
    listing: Json = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    for audience, status in ((f"{PUBLIC_URL}/mcp", 200), ("mcp", 200), (AUDIENCE, 401)):
        bearer = {"Authorization": f"Bearer {signed(KEY, EVA, aud=audience)}", **headers}
        answer = await (await stage.doors.stranger(bearer)).post("/mcp", json=listing)
        assert answer.status_code == status, answer.text
    assert "resource_metadata=" in answer.headers["www-authenticate"]
    problem_of(await stage.me(signed(KEY, EVA, aud="mcp")), 403, "wrong_audience")


async def test_an_issuer_gives_no_widget_tokens(stage: Stage) -> None:
    await stage.link("acme", "employee")
    assert (await stage.me(signed(KEY, EVA, aud="widget"))).status_code == 401


async def test_a_hub_without_a_secret_of_its_own_begins_no_widget_session(database: Database) -> None:
    async with issuing(KEY) as issuer, opened_doors(database, settings=settings_by(issuer, None)) as doors:
        who = await doors.hub.identities.principal_by_email("employee@acme.example")
        token = signed(KEY, str(who), org="acme-audit")
        client = await doors.stranger({"Authorization": f"Bearer {token}"})
        problem_of(await client.post("/v1/widget/sessions", json={"origin": PUBLIC_URL}), 403, "no_widget_tokens")
