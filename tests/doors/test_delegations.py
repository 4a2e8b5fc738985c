"""Deciding in another's stead, over HTTP: what a deputy may decide, what never, and what the record says of it."""

from datetime import timedelta
from typing import cast
from uuid import UUID, uuid4

import pytest

from domain.kernel import utc_now
from server.database.connection import Connection
from tests.support.database import Database
from tests.support.firms import FIRM_A
from tests.support.releasing import Firm, Json, decided, founded, post, requested
from tests.support.site import Site

ADMIN, MANAGER, PARTNER, EMPLOYEE, SECOND = "SYSTEM_ADMIN", "MANAGER", "partner", "employee", "second"
EMAIL = {
    ADMIN: "system_admin@more-1.example",
    MANAGER: "manager@more-1.example",
    PARTNER: "partner@firm-1.example",
    EMPLOYEE: "employee@firm-1.example",
    SECOND: "second@firm-1.example",
}
SHIFT = """
UPDATE delegations SET starts_at = starts_at + $2::interval, ends_at = ends_at + $2::interval WHERE delegate_id = $1
"""
ROLE = "UPDATE memberships SET role = $2 WHERE user_id = $1"


@pytest.fixture
async def firm(database: Database, owner_connection: Connection, superuser_connection: Connection) -> Firm:
    made = await founded(database, owner_connection, superuser_connection)
    await owner_connection.execute(
        "INSERT INTO users (user_id, kind, email, display_name) VALUES ($1, 'person', $2, 'Second')",
        FIRM_A.id(SECOND),
        EMAIL[SECOND],
    )
    await owner_connection.execute(
        "INSERT INTO memberships (organization_id, user_id, role) VALUES ($1, $2, 'EMPLOYEE')",
        FIRM_A.organization_id,
        FIRM_A.id(SECOND),
    )
    return made


def in_days(days: int) -> str:
    return (utc_now() + timedelta(days=days)).date().isoformat()


async def given(site: Site, away: str, deputy: str) -> Json:
    body = {"delegate": EMAIL[deputy], "ends_at": in_days(7), "reason": "on leave"}
    answer = await post(site, away, "/v1/delegations", body)
    assert answer.status_code == 201, answer.text
    return cast(Json, answer.json())


async def deletion(site: Site, who: str = EMPLOYEE) -> Json:
    """What an employee's agent asks and a manager decides, four eyes not being needed."""
    body = {"arguments": {"document_id": str(FIRM_A.id("thing"))}}
    answer = await post(site, who, "/v1/tools/document_delete/call", body, "service")
    assert answer.status_code == 202, answer.text
    return cast(Json, answer.json())


async def sees(site: Site, who: str, asked: Json) -> bool:
    shown = (await requested(site, "GET", who, f"/v1/approvals/{asked['approval_id']}")).status_code == 200
    items = (await requested(site, "GET", who, "/v1/approvals?limit=100")).json()["items"]
    assert shown == (asked["approval_id"] in [item["id"] for item in items])
    return shown


async def test_a_deputy_decides_and_the_record_says_in_whose_stead(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        assert not await sees(site, MANAGER, asked)
        delegation = await given(site, ADMIN, MANAGER)
        assert (delegation["delegator"], delegation["delegate"], delegation["stands"]) == (
            EMAIL[ADMIN],
            EMAIL[MANAGER],
            True,
        )
        assert await sees(site, MANAGER, asked)
        answer = await decided(site, asked, who=MANAGER)
        shown = await requested(site, "GET", PARTNER, f"/v1/approvals/{asked['approval_id']}")
        listed = await requested(site, "GET", MANAGER, "/v1/activity?tool=approval_decide")
    item = answer.json()
    assert (answer.status_code, item["state"]) == (200, "executed"), answer.text
    for each in (item, shown.json()):
        assert (each["decided_by"], each["decided_for"]) == (EMAIL[MANAGER], EMAIL[ADMIN])
    call_id = UUID(listed.json()["items"][0]["call_id"])
    facts = "SELECT facts::jsonb ->> 'approval_deputy_role' FROM activity_events WHERE call_id = $1 AND opens"
    assert await firm.inspector.fetchval(facts, call_id) == "SYSTEM_ADMIN"
    released = await firm.inspector.fetchval("SELECT approved_by FROM releases WHERE control = 'report_release'")
    assert released == FIRM_A.id(MANAGER)


async def test_whoever_may_decide_anyway_decides_in_their_own_name(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        await given(site, PARTNER, ADMIN)
        item = (await decided(site, asked, who=ADMIN)).json()
    assert (item["state"], item["decided_by"], "decided_for" in item) == ("executed", EMAIL[ADMIN], False)


async def test_a_deputy_who_asked_does_not_decide_in_anybodys_stead(firm: Firm) -> None:
    async with firm.served() as site:
        for who in (MANAGER, PARTNER):
            await given(site, who, EMPLOYEE)
        asked = await deletion(site)
        answer = await decided(site, asked, who=EMPLOYEE)
        assert (answer.status_code, answer.json()["verdict"]["reasons"]) == (403, ["deputy_asked"]), answer.text
        assert await firm.kinds(answer.json()["call_id"]) == ["tool.denied"]
        assert await firm.state(asked) == "pending"


async def test_where_four_eyes_are_needed_a_requester_has_no_deputy(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        await given(site, PARTNER, MANAGER)
        assert not await sees(site, MANAGER, asked)
        answer = await decided(site, asked, who=MANAGER)
        assert (answer.status_code, answer.json()["code"]) == (404, "approval_not_found")
        # One who stands in for another partner as well decides in that one's stead.
        await given(site, ADMIN, MANAGER)
        assert (await decided(site, asked, who=MANAGER)).json()["decided_for"] == EMAIL[ADMIN]


async def test_where_two_eyes_suffice_a_deputy_decides_what_whoever_is_away_asked(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await deletion(site, MANAGER)
        await given(site, MANAGER, EMPLOYEE)
        item = (await decided(site, asked, who=EMPLOYEE)).json()
    assert (item["state"], item["decided_for"]) == ("executed", EMAIL[MANAGER])


async def test_nobody_decides_two_steps_above_themselves_nor_hands_on_what_was_handed_to_them(firm: Firm) -> None:
    async with firm.served() as site:
        release, other = await firm.asked(site), await deletion(site, MANAGER)
        await given(site, ADMIN, EMPLOYEE)
        assert not await sees(site, EMPLOYEE, release)
        assert await sees(site, EMPLOYEE, other)
        await given(site, EMPLOYEE, SECOND)
        for asked in (release, other):
            assert not await sees(site, SECOND, asked)
            assert (await decided(site, asked, who=SECOND)).status_code == 404
            assert await firm.state(asked) == "pending"


@pytest.mark.parametrize("change", ["revoked", "over", "not begun", "delegator lowered", "deputy lowered"])
async def test_a_delegation_holds_for_its_time_and_while_both_hold_their_roles(firm: Firm, change: str) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        delegation = await given(site, ADMIN, MANAGER)
        assert await sees(site, MANAGER, asked)
        match change:
            case "revoked":
                path = f"/v1/delegations/{delegation['delegation_id']}"
                answer = await requested(site, "DELETE", ADMIN, path)
                assert (answer.status_code, answer.json()["stands"]) == (200, False), answer.text
                assert (await requested(site, "DELETE", ADMIN, path)).json()["code"] == "delegation_over"
            case "over" | "not begun":
                by = timedelta(days=-30 if change == "over" else 30)
                await firm.owner.execute(SHIFT, FIRM_A.id(MANAGER), by)
            case "delegator lowered":
                await firm.owner.execute(ROLE, FIRM_A.id(ADMIN), "MANAGER")
            case _:
                await firm.owner.execute(ROLE, FIRM_A.id(MANAGER), "EMPLOYEE")
        assert not await sees(site, MANAGER, asked)
        answer = await decided(site, asked, who=MANAGER)
        assert (answer.status_code, answer.json()["code"]) == (404, "approval_not_found")
    await firm.assert_not_made(asked, "pending")


async def test_delegations_are_seen_and_revoked_by_those_concerned_and_by_partners(firm: Firm) -> None:
    async with firm.served() as site:
        first, second = await given(site, MANAGER, EMPLOYEE), await given(site, MANAGER, SECOND)
        listed = {
            who: [
                item["delegation_id"] for item in (await requested(site, "GET", who, "/v1/delegations")).json()["items"]
            ]
            for who in (MANAGER, EMPLOYEE, SECOND, PARTNER)
        }
        newest = [second["delegation_id"], first["delegation_id"]]
        assert listed == {
            MANAGER: newest,
            EMPLOYEE: [first["delegation_id"]],
            SECOND: [second["delegation_id"]],
            PARTNER: newest,
        }
        path = f"/v1/delegations/{first['delegation_id']}"
        answer = await requested(site, "DELETE", SECOND, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "delegation_not_found")
        assert (await requested(site, "DELETE", EMPLOYEE, path)).json()["revoked_by"] == EMAIL[EMPLOYEE]
        of_partners = await requested(site, "DELETE", PARTNER, f"/v1/delegations/{second['delegation_id']}")
        assert of_partners.json()["revoked_by"] == EMAIL[PARTNER]
        third = await given(site, PARTNER, ADMIN)
        answer = await requested(site, "DELETE", MANAGER, f"/v1/delegations/{third['delegation_id']}")
        assert (answer.status_code, answer.json()["verdict"]["reasons"]) == (403, ["delegation_of_others"])
        over = (await requested(site, "GET", PARTNER, "/v1/delegations?over=true")).json()["items"]
        gone = [item for item in over if item["delegation_id"] == first["delegation_id"]]
        assert gone == [(await requested(site, "GET", PARTNER, path)).json()]
        assert {**gone[0], "stands": True} == {
            **first,
            "revoked_by": EMAIL[EMPLOYEE],
            "revoked_at": gone[0]["revoked_at"],
        }


SENSELESS: tuple[tuple[Json, int, str], ...] = (
    ({"delegate": EMAIL[PARTNER]}, 404, "delegate_not_found"),
    ({"delegate": "nobody@firm-1.example"}, 404, "delegate_not_found"),
    ({"delegate": "partner@firm-2.example"}, 404, "delegate_not_found"),
    ({"delegate": "client@firm-1.example"}, 403, "denied"),
    ({"ends_at": in_days(-2)}, 422, "invalid_period"),
    ({"starts_at": in_days(8)}, 422, "invalid_period"),
    ({"ends_at": in_days(120)}, 422, "invalid_period"),
    ({"ends_at": "2026-02-31"}, 422, "invalid_arguments"),
    ({"ends_at": "9999-12-31"}, 422, "invalid_period"),
)


async def test_a_delegation_that_makes_no_sense_is_refused(firm: Firm) -> None:
    async with firm.served() as site:
        for changes, status, code in SENSELESS:
            body = {"delegate": EMAIL[MANAGER], "ends_at": in_days(7), **changes}
            answer = await post(site, PARTNER, "/v1/delegations", body)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_only_a_persons_own_hand_names_a_deputy(firm: Firm) -> None:
    async with firm.served() as site:
        body = {"delegate": EMAIL[MANAGER], "ends_at": in_days(7)}
        answer = await post(site, PARTNER, "/v1/delegations", body, "service")
        assert (answer.status_code, answer.json()["verdict"]["reasons"]) == (403, ["agent_may_not"]), answer.text
        delegation = await given(site, PARTNER, MANAGER)
        path = f"/v1/delegations/{delegation['delegation_id']}"
        assert (await requested(site, "DELETE", PARTNER, path, audience="service")).status_code == 403
        assert (await requested(site, "GET", PARTNER, f"/v1/delegations/{uuid4()}")).status_code == 404


async def test_as_many_are_named_as_can_be_kept_in_view(firm: Firm) -> None:
    async with firm.served() as site:
        for _ in range(10):
            await given(site, PARTNER, MANAGER)
        body = {"delegate": EMAIL[MANAGER], "ends_at": in_days(7)}
        answer = await post(site, PARTNER, "/v1/delegations", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_delegations")
