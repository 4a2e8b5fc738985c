"""Signing in by an issuer's tokens: whom they are linked to, in which organization, and who may open it to whom."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from server.database.connection import Connection
from server.settings import Settings
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, Doors, opened_doors, problem_of
from tests.support.issuer import AUDIENCE, ISSUER, Issuer, Json, issuing, key, signed

KEY, NEXT = key("now"), key("next", "RS256")
EVA = "3f1c9f3e-2c1f-4f5a-8a55-9c7a8f1f0c11"
"""What the issuer calls her; no id of the hub's."""
LINKED: Json = {"issuer": ISSUER, "subject": EVA}


@dataclass(frozen=True, kw_only=True)
class Stage:
    doors: Doors
    issuer: Issuer

    async def call(self, who: str, tool: str, arguments: Json) -> httpx.Response:
        """A call by hand with a token of the hub's own."""
        client = await self.doors.client(who)
        return await client.post(f"/v1/tools/{tool}/call", json={"arguments": arguments})

    async def link(self, firm: str, role: str, **changed: str) -> httpx.Response:
        """The firm's admin links Eva, or whom else is said, to the member of that role."""
        given = {**LINKED, "user": f"{role}@{firm}.example", **changed}
        return await self.call(f"admin@{firm}", "identity_link", given)

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
        settings = Settings(
            jwt_secret=SecretStr("a secret of tests, 32 bytes long or more"),
            jwks_url=issuer.url,
            jwt_issuer=ISSUER,
            jwt_audience=AUDIENCE,
            public_url=PUBLIC_URL,
            model_api="offline",
        )
        doors = await stack.enter_async_context(opened_doors(database, settings=settings))
        yield Stage(doors=doors, issuer=issuer)


def done(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_linked_identity_is_the_member_with_the_members_own_role(stage: Stage) -> None:
    problem_of(await stage.me(), 403, "not_a_member")
    told = done(await stage.link("acme", "manager"))
    assert told["result"] == {**LINKED, "user": "manager@acme.example"}
    me = done(await stage.me())
    assert (me["organization"], me["role"], me["mode"]) == ("acme-audit", "MANAGER", "person")


async def test_what_the_token_says_of_role_and_organization_counts_for_nothing(stage: Stage) -> None:
    done(await stage.link("acme", "readonly"))
    token = signed(KEY, EVA, role="SYSTEM_ADMIN", autonomy="L3", app_metadata={"org": "borealis-tax"})
    assert done(await stage.me(token))["role"] == "READONLY"
    problem_of(await stage.me(signed(KEY, EVA, org="borealis-tax")), 403, "not_a_member")


async def test_a_person_of_several_organizations_says_which_and_no_other_opens(stage: Stage) -> None:
    done(await stage.link("acme", "manager"))
    done(await stage.link("borealis", "employee"))
    problem_of(await stage.me(), 400, "organization_required")
    for slug, role in (("acme-audit", "MANAGER"), ("borealis-tax", "EMPLOYEE")):
        me = done(await stage.me(organization=slug))
        assert (me["organization"], me["role"]) == (slug, role)
    problem_of(await stage.me(organization="nobody-and-co"), 403, "not_a_member")


async def test_an_admin_opens_no_other_firm_to_anybody(stage: Stage) -> None:
    answer = await stage.link("acme", "manager", user="partner@borealis.example")
    problem_of(answer, 422, "not_found")
    done(await stage.link("acme", "manager"))
    problem_of(await stage.me(organization="borealis-tax"), 403, "not_a_member")
    theirs = await stage.call("admin@borealis", "identity_unlink", LINKED)
    problem_of(theirs, 422, "not_found")
    assert done(await stage.me())["organization"] == "acme-audit"


async def test_an_identity_is_never_moved_silently_and_linking_it_again_changes_nothing(stage: Stage) -> None:
    done(await stage.link("acme", "manager"))
    assert done(await stage.link("acme", "manager", user="MANAGER@acme.example"))["outcome"] == "done"
    problem_of(await stage.link("acme", "partner"), 422, "identity_taken")
    assert done(await stage.me())["role"] == "MANAGER"


async def test_an_unlinked_identity_is_nobody_again(stage: Stage) -> None:
    done(await stage.link("acme", "manager"))
    assert done(await stage.call("admin@acme", "identity_unlink", LINKED))["result"]["user"] == "manager@acme.example"
    problem_of(await stage.me(), 403, "not_a_member")
    problem_of(await stage.call("admin@acme", "identity_unlink", LINKED), 422, "not_found")


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
    call = done(await stage.link("acme", "manager"))["call_id"]
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
    done(await stage.link("acme", "readonly"))
    assert done(await stage.me())["role"] == "READONLY"
    await owner_connection.execute("UPDATE memberships SET role = 'CLIENT' WHERE role = 'READONLY'")
    assert done(await stage.me(signed(KEY, EVA, jti="again")))["role"] == "CLIENT"


async def test_an_issuer_that_names_our_own_ids_and_organization_is_believed(stage: Stage) -> None:
    who = await stage.doors.hub.identities.principal_by_email("employee@acme.example")
    me = done(await stage.me(signed(KEY, str(who), org="acme-audit")))
    assert (me["organization"], me["role"]) == ("acme-audit", "EMPLOYEE")
    problem_of(await stage.me(signed(KEY, str(who), org="borealis-tax")), 403, "not_a_member")


async def test_a_link_says_who_it_is_before_the_subject_itself_does(stage: Stage) -> None:
    who = await stage.doors.hub.identities.principal_by_email("partner@acme.example")
    done(await stage.link("acme", "readonly", subject=str(who)))
    assert done(await stage.me(signed(KEY, str(who))))["role"] == "READONLY"


async def test_keys_are_rotated_without_anybody_being_signed_out(stage: Stage) -> None:
    done(await stage.link("acme", "manager"))
    done(await stage.me())
    stage.issuer.keys = [KEY, NEXT]
    # The pause between two fetches has not passed since the first: what is new is not known yet, and is no error.
    assert (await stage.me(signed(NEXT, EVA))).status_code == 401
    assert done(await stage.me(signed(KEY, EVA, jti="later")))["role"] == "MANAGER"


async def test_an_issuer_that_is_away_signs_nobody_out_and_is_no_refusal(stage: Stage) -> None:
    done(await stage.link("acme", "manager"))
    stage.issuer.status = 500
    problem = await stage.me()
    problem_of(problem, 503, "keys_unavailable")
    assert int(problem.headers["retry-after"]) > 0
    assert "www-authenticate" not in problem.headers
    assert (await (await stage.doors.client("employee@acme")).get("/v1/me")).status_code == 200


async def test_the_mcp_door_takes_its_own_audience_and_says_where_to_sign_in(stage: Stage) -> None:
    done(await stage.link("acme", "employee"))
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
    done(await stage.link("acme", "employee"))
    assert (await stage.me(signed(KEY, EVA, aud="widget"))).status_code == 401
