"""A person's data, handed out to whom it concerns and to nobody else."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest

from domain.kernel import CallId, Principal
from domain.privacy.model import PARTS
from domain.privacy.postgres import PAGE_BYTES, PAGE_ROWS
from server.database.connection import Connection
from server.database.unit_of_work import Session
from server.person_archive import archived
from tests.database.test_privacy import EMAIL, HAND, MANY, PARTNER, PERSON, THING, Office, office
from tests.support.firms import FIRM_A, FIRM_B
from tests.support.gates import principal_of
from tools.outcomes import CallOutcome

__all__ = ["office"]

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
OTHERS = ("partner@firm-1.example", "Client")
Opening = Callable[[], AbstractAsyncContextManager[Session]]


def session_of(office: Office, who: Principal) -> Opening:
    return lambda: office.gate.transactions.session(who.organization_id, who.principal_id)


async def handed_out(office: Office, outcome: CallOutcome, who: Principal, opening: Opening | None = None) -> bytes:
    assert outcome.result is not None, outcome
    opened = opening or session_of(office, who)
    return b"".join([some async for some in archived(opened, outcome.call_id, outcome.result, "firm-1", AT)])


def unpacked(content: bytes) -> tuple[dict[str, list[Any]], dict[str, bytes]]:
    """The entries of each part, and the other files."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    parts = {name: files.pop(name) for name in list(files) if name.startswith("data/")}
    return {name[5:-7]: [orjson.loads(line) for line in held.splitlines()] for name, held in parts.items()}, files


async def test_a_member_is_given_what_is_theirs_and_understands_it(office: Office) -> None:
    await office.call("preference_set", {"words": "Call me Zo."})
    made = await office.call("task_create", {"title": "Ask the bank"})
    outcome = await office.call("privacy_export_own", {})
    parts, files = unpacked(await handed_out(office, outcome, HAND))
    assert list(parts) == list(PARTS)
    assert [each["words"] for each in parts["preferences"]] == ["Call me Zo."]
    (person,) = parts["person"]
    assert (person["email"], person["role"]) == (EMAIL, "EMPLOYEE")
    (message,) = parts["messages"]
    assert message["content"] == {"text": "text"}
    call = next(each for each in parts["activity"] if each["call_id"] == str(made.call_id))
    assert (call["arguments"]["title"], call["ended"]) == ("Ask the bank", "tool.completed")
    assert call["result"]["task"]["title"] == "Ask the bank"
    assert {each["title"] for each in parts["tasks"]} == {"Task", "Client task", "Ask the bank"}
    for part in (
        "conversations",
        "runs",
        "feedback",
        "identities",
        "approvals_asked",
        "task_runs",
        "conversation_summaries",
    ):
        assert len(parts[part]) == 1, part
    assert parts["sign_offs"] == []
    readme = files["README.txt"].decode()
    assert EMAIL in readme
    assert all(f"data/{part}.ndjson" in readme for part in PARTS)
    manifest = orjson.loads(files["manifest.json"])
    assert manifest["call_id"] == str(outcome.call_id)
    assert {each["file"]: each["entries"] for each in manifest["files"]} == {
        f"data/{part}.ndjson": len(entries) for part, entries in parts.items()
    }
    with zipfile.ZipFile(io.BytesIO(await handed_out(office, outcome, HAND))) as again:
        for each in manifest["files"]:
            assert hashlib.sha256(again.read(each["file"])).hexdigest() == each["sha256"]


async def test_a_partner_is_given_a_members_and_nothing_of_what_others_asked(office: Office) -> None:
    asked = await office.call("privacy_export", {"person": EMAIL.upper()}, PARTNER)
    parts, _ = unpacked(await handed_out(office, asked, PARTNER))
    assert [each["email"] for each in parts["person"]] == [EMAIL]
    assert len(parts["messages"]) == 1
    own = await office.call("privacy_export_own", {}, PARTNER)
    parts, _ = unpacked(await handed_out(office, own, PARTNER))
    assert [each["kind"] for each in parts["sign_offs"]] == ["PLAN_REVIEW"]
    assert len(parts["documents"]) == 3
    assert "text" not in parts["documents"][0]
    assert parts["messages"] == []


async def test_nothing_is_handed_out_but_by_a_call_that_the_record_has(office: Office) -> None:
    own = await office.call("privacy_export_own", {})
    theirs = await office.call("privacy_export", {"person": EMAIL}, PARTNER)
    searched = await office.call("task_list", {})
    second = principal_of(who="second", mode="person", door="rest")
    stranger = principal_of(FIRM_B, "partner", mode="person", door="rest")

    async def seen(call_id: CallId, who: Principal) -> int:
        async with session_of(office, who)() as session:
            return len((await session.work.privacy.rows(call_id, "person", None)).rows)

    assert await seen(own.call_id, HAND) == 1
    assert await seen(theirs.call_id, PARTNER) == 1
    for call_id, who in (
        (own.call_id, PARTNER),
        (theirs.call_id, HAND),
        (theirs.call_id, second),
        (theirs.call_id, stranger),
        (searched.call_id, HAND),
        (CallId(uuid4()), PARTNER),
    ):
        assert await seen(call_id, who) == 0
    # Whoever is a partner no more is given no further page; nor is anybody on the next day.
    await office.owner.execute("UPDATE memberships SET role = 'MANAGER' WHERE user_id = $1", FIRM_A.id("partner"))
    assert await seen(theirs.call_id, PARTNER) == 0
    await office.owner.execute("UPDATE activity_events SET occurred_at = occurred_at - interval '25 hours'")
    assert await seen(own.call_id, HAND) == 0


@pytest.mark.parametrize("who", ["employee", "client", "service"])
async def test_who_may_not_hand_out_anothers_is_refused(office: Office, who: str) -> None:
    refused = await office.call("privacy_export", {"person": EMAIL}, principal_of(who=who, mode="person", door="rest"))
    assert refused.outcome == "denied"
    agent = await office.call("privacy_export_own", {}, principal_of(who=who, door="rest"))
    assert agent.outcome == "denied"
    unknown = await office.call("privacy_export", {"person": "employee@firm-2.example"}, PARTNER)
    assert unknown.outcome == "invalid"
    hub = await office.call("privacy_export", {"person": "hub@firm-1.example"}, PARTNER)
    assert hub.error is not None
    assert hub.error.code == "not_a_person"


async def test_however_much_it_is_it_is_read_page_by_page(office: Office, superuser_connection: Connection) -> None:
    many = 2 * PAGE_ROWS + 1
    await office.owner.execute(MANY, FIRM_A.organization_id, PERSON, THING, many)
    await superuser_connection.execute("SET session_replication_role = replica")
    await superuser_connection.execute(
        "UPDATE messages SET content = repeat('x', $1) WHERE ordinal BETWEEN 100 AND 103", PAGE_BYTES
    )
    outcome = await office.call("privacy_export_own", {})
    sizes, behind, rows = list[int](), None, list[str]()
    while True:
        async with session_of(office, HAND)() as session:
            page = await session.work.privacy.rows(outcome.call_id, "messages", behind)
        if not page.rows:
            break
        sizes.append(sum(map(len, page.rows)))
        rows += page.rows
        behind = page.behind
    assert max(sizes) < 2.1 * PAGE_BYTES
    ordinals = [cast(dict[str, Any], orjson.loads(row))["ordinal"] for row in rows]
    assert ordinals == sorted(ordinals)
    assert len(ordinals) == many + 1
    parts, _ = unpacked(await handed_out(office, outcome, HAND))
    assert (len(parts["messages"]), len(parts["activity"])) == (many + 1, many + 2)


async def test_an_archive_that_broke_off_says_so_and_has_no_manifest(office: Office) -> None:
    outcome = await office.call("privacy_export_own", {})
    opened = 0

    def opening() -> AbstractAsyncContextManager[Session]:
        nonlocal opened
        opened += 1
        if opened > 5:
            raise ConnectionResetError
        return session_of(office, HAND)()

    _, files = unpacked(await handed_out(office, outcome, HAND, opening))
    assert set(files) == {"README.txt", "BROKEN-OFF.txt"}
