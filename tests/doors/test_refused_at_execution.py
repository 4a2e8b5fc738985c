"""What an approval does not get past: each is refused over HTTP, at the decision or at execution, and recorded.

A release is asked for by one partner's hand and needs another pair of eyes. Each test changes one thing between the
question and the answer; the first shows that without a change it is done.
"""

import shutil
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from domain.resources import resource_folder
from server.database.connection import Connection
from tests.support.database import Database
from tests.support.firms import FIRM_A
from tests.support.releasing import ASKER, DECIDER, ENGAGEMENT, Firm, Json, decided, founded, post, requested, signed

LAPSE = "UPDATE approvals SET expires_at = now() - interval '1 second' WHERE approval_id = $1"
ROLE = "UPDATE memberships SET role = $2 WHERE user_id = $1"
TRACE = """
CREATE TABLE glow.passed (seen_as serial, was text, is_now text);
CREATE FUNCTION glow.keep_passed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO glow.passed (was, is_now) VALUES (OLD.state, NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_passed AFTER UPDATE OF state ON approvals FOR EACH ROW EXECUTE FUNCTION glow.keep_passed();
"""


@pytest.fixture
async def firm(database: Database, owner_connection: Connection, superuser_connection: Connection) -> Firm:
    return await founded(database, owner_connection, superuser_connection)


def manifests_with(folder: Path, name: str, change: tuple[str, str] | None, text: str = "") -> Path:
    """A copy of the manifests in which one file says something else, or there is one more."""
    copy = folder / "manifests"
    shutil.copytree(resource_folder("manifests"), copy)
    if change is not None:
        text = (copy / name).read_text(encoding="utf-8")
        assert change[0] in text
        text = text.replace(*change)
    (copy / name).write_text(text, encoding="utf-8")
    return copy


def assert_refused_at_execution(answer: httpx.Response, code: str, *named: str) -> None:
    """The answer counted, and the call was refused when it was to be made."""
    item = answer.json()
    assert (answer.status_code, item["state"], item["call"]["outcome"]) == (200, "failed", "denied"), answer.text
    assert item["call"]["error"]["code"] == code
    assert all(name in item["call"]["error"]["message"] for name in named), item["call"]


async def test_what_has_not_changed_is_made_and_comes_through_each_state(firm: Firm) -> None:
    await firm.owner.execute(TRACE)
    async with firm.served() as site:
        asked = await firm.asked(site)
        answer = await decided(site, asked)
    assert (answer.status_code, answer.json()["state"]) == (200, "executed"), answer.text
    assert await firm.kinds(asked["call_id"]) == ["tool.waiting", "tool.allowed", "tool.completed"]
    passed = await firm.inspector.fetch("SELECT was, is_now FROM glow.passed ORDER BY seen_as")
    assert [tuple(row) for row in passed] == [
        ("pending", "approved"),
        ("approved", "executing"),
        ("executing", "executed"),
    ]


async def test_a_changed_manifest_is_refused(firm: Firm, tmp_path: Path) -> None:
    changed = manifests_with(tmp_path, "tools/release_submit.yaml", ("maxItems: 50", "maxItems: 49"))
    async with firm.served() as site:
        asked = await firm.asked(site)
    await firm.owner.execute(TRACE)
    async with firm.served(changed) as site:
        assert_refused_at_execution(await decided(site, asked), "manifest_changed")
    await firm.assert_not_made(asked, "failed", "tool.denied")
    assert await firm.reasons(asked["call_id"]) == ["manifest_changed"]
    passed = await firm.inspector.fetch("SELECT was, is_now FROM glow.passed ORDER BY seen_as")
    assert [tuple(row) for row in passed] == [("pending", "approved"), ("approved", "failed")]


async def test_a_manifest_that_only_words_itself_otherwise_is_the_same(firm: Firm, tmp_path: Path) -> None:
    reworded = manifests_with(tmp_path, "tools/release_submit.yaml", ("title: Record a release", "title: Let it go"))
    async with firm.served() as site:
        asked = await firm.asked(site)
    async with firm.served(reworded) as site:
        assert (await decided(site, asked)).json()["state"] == "executed"


async def test_a_policy_that_now_forbids_is_obeyed(firm: Firm, tmp_path: Path) -> None:
    rule = """@id("nothing_leaves_in_december")
@says("Nothing leaves the firm while it is closed.")
forbid (principal, action == Action::"call", resource == Tool::"release_submit");
"""
    stricter = manifests_with(tmp_path, "policies/december.cedar", None, rule)
    async with firm.served() as site:
        asked = await firm.asked(site)
    async with firm.served(stricter) as site:
        assert_refused_at_execution(await decided(site, asked), "denied", "nothing_leaves_in_december")
    await firm.assert_not_made(asked, "failed", "tool.denied")
    assert await firm.reasons(asked["call_id"]) == ["nothing_leaves_in_december"]


async def test_a_control_that_has_lapsed_is_obeyed(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        await signed(site, "EQR", "EQR_REVIEW", "reject")
        assert_refused_at_execution(await decided(site, asked), "denied", "control_not_satisfied")
    await firm.assert_not_made(asked, "failed", "tool.denied")
    assert await firm.reasons(asked["call_id"]) == ["control_not_satisfied"]


RENAME = "UPDATE engagements SET client_name = 'Somebody else' WHERE engagement_id = $1"


async def test_something_else_under_the_same_id_is_refused(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        shown = await requested(site, "GET", DECIDER, f"/v1/approvals/{asked['approval_id']}")
        named = shown.json()["subjects"]
        assert named["is_bound"] is True
        assert [(each["subject"], each["state"]) for each in named["items"]] == [
            ("engagement", "unchanged"),
            ("sign_offs", "unchanged"),
        ]
        await firm.owner.execute(RENAME, UUID(ENGAGEMENT))
        shown = await requested(site, "GET", DECIDER, f"/v1/approvals/{asked['approval_id']}")
        (engagement, *_) = shown.json()["subjects"]["items"]
        assert engagement["state"] == "changed"
        assert {"name": "client", "value": "Somebody else"} in engagement["words"]
        assert_refused_at_execution(await decided(site, asked), "subject_changed", "engagement_id", "ask anew")
    await firm.assert_not_made(asked, "failed", "tool.denied")
    assert await firm.reasons(asked["call_id"]) == ["subject_changed"]


async def test_a_workflow_that_does_something_else_by_now_is_refused(firm: Firm, tmp_path: Path) -> None:
    name = "workflows/refresh_analytics.yaml"
    text = (resource_folder("manifests") / name).read_text(encoding="utf-8")
    changed = manifests_with(tmp_path, name, ("minimum_autonomy: L1", "minimum_autonomy: L1\ntimeout_s: 77"))
    assert "timeout_s" not in text
    await firm.owner.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', 0, $2, clock_timestamp())",
        FIRM_A.organization_id,
        FIRM_A.id(ASKER),
    )
    async with firm.served() as site:
        made = await post(site, ASKER, "/v1/tasks", {"title": "Refresh", "kind": "refresh_analytics"})
        run = {"arguments": {"task_id": made.json()["task_id"]}}
        asked = await post(site, ASKER, "/v1/tools/task_run/call", run, "service")
        assert asked.json()["outcome"] == "waiting", asked.text
        again = (await post(site, ASKER, "/v1/tools/task_run/call", run, "service")).json()
        assert (await decided(site, again)).json()["state"] == "executed"
    async with firm.served(changed) as site:
        assert_refused_at_execution(await decided(site, asked.json()), "subject_changed", "the workflow")


@pytest.mark.parametrize("role", ["MANAGER", "READONLY"])
async def test_a_requester_who_may_no_longer_is_refused(firm: Firm, role: str) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        await firm.owner.execute(ROLE, FIRM_A.id(ASKER), role)
        reason = "releasing_needs_partner" if role == "MANAGER" else "role_too_low"
        assert_refused_at_execution(await decided(site, asked), "denied", reason)
    await firm.assert_not_made(asked, "failed", "tool.denied")


async def test_an_expired_approval_is_refused(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        await firm.owner.execute(LAPSE, UUID(asked["approval_id"]))
        answer = await decided(site, asked)
    assert (answer.status_code, answer.json()["code"]) == (409, "approval_expired"), answer.text
    assert await firm.kinds(answer.json()["call_id"]) == ["tool.invalid"]
    await firm.assert_not_made(asked, "pending")


@pytest.mark.parametrize(("first", "state"), [("approve", "executed"), ("reject", "rejected")])
async def test_a_used_approval_is_refused(firm: Firm, first: str, state: str) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        assert (await decided(site, asked, decision=first)).json()["state"] == state
        made = await firm.kinds(asked["call_id"])
        again = [await decided(site, asked, decision=second) for second in ("approve", "reject")]
    for answer in again:
        assert (answer.status_code, answer.json()["code"]) == (409, "already_decided"), answer.text
        assert await firm.kinds(answer.json()["call_id"]) == ["tool.invalid"]
    assert (await firm.state(asked), await firm.kinds(asked["call_id"])) == (state, made)


async def assert_decider_refused(firm: Firm, asked: Json, answer: httpx.Response, reason: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (403, "denied"), answer.text
    assert reason in await firm.reasons(answer.json()["call_id"])
    assert await firm.kinds(answer.json()["call_id"]) == ["tool.denied"]
    await firm.assert_not_made(asked, "pending")


async def test_an_agent_mode_decider_is_refused(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        answer = await decided(site, asked, audience="service")
        await assert_decider_refused(firm, asked, answer, "agent_may_not")


async def test_the_requester_is_refused_where_four_eyes_are_needed(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        for decision in ("approve", "reject"):
            answer = await decided(site, asked, who=ASKER, decision=decision)
            await assert_decider_refused(firm, asked, answer, "four_eyes_needed")


async def test_a_decider_below_the_role_that_is_needed_finds_no_such_approval(firm: Firm) -> None:
    async with firm.served() as site:
        asked = await firm.asked(site)
        answer = await decided(site, asked, who="MANAGER")
        assert (answer.status_code, answer.json()["code"]) == (404, "approval_not_found"), answer.text
        assert await firm.kinds(answer.json()["call_id"]) == ["tool.invalid"]
        await firm.owner.execute(ROLE, FIRM_A.id(DECIDER), "MANAGER")
        assert (await decided(site, asked)).status_code == 404
    await firm.assert_not_made(asked, "pending")


async def test_a_policy_without_its_four_eyes_does_not_get_past_the_database(firm: Firm, tmp_path: Path) -> None:
    never = ("context.approval.four_eyes && context.approval.own", "context.approval.four_eyes && false")
    async with firm.served() as site:
        asked = await firm.asked(site)
    async with firm.served(manifests_with(tmp_path, "policies/approvals.cedar", never)) as site:
        answer = await decided(site, asked, who=ASKER)
    assert (answer.status_code, answer.json()["outcome"]) == (502, "failed"), answer.text
    await firm.assert_not_made(asked, "pending")
