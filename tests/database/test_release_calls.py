"""Sign-offs and releases through the gate: who may, what holds for which version, and that nothing unsigned leaves."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast
from uuid import UUID

import pytest

from domain.kernel import Principal, PrincipalId, Role
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.calls import add_member
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import CallOutcome, Json

PARTNER = principal_of(who="partner", mode="person", door="rest")
ENGAGEMENT = str(FIRM_A.id("other_engagement"))
NEEDS = "INSERT INTO release_controls (organization_id, name, needs) VALUES ($1, $2, $3)"


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    for name, needs in (("report_release", ["REPORT_FINAL", "EQR_REVIEW"]), ("filings_submit", ["VAT_RETURN"])):
        await owner_connection.execute(NEEDS, FIRM_A.organization_id, name, needs)
    for role in (Role.EQR, Role.MANAGER, Role.SYSTEM_ADMIN):
        await add_member(owner_connection, role)
    async with gate_on(pools) as opened:
        yield opened


def hand(role: Role) -> Principal:
    return replace(PARTNER, principal_id=PrincipalId(FIRM_A.id(role)))


EQR, MANAGER, ADMIN = hand(Role.EQR), hand(Role.MANAGER), hand(Role.SYSTEM_ADMIN)


async def signed(
    gate: GateOnTest,
    kind: str,
    version: str = "1",
    *,
    by: Principal = PARTNER,
    decision: str = "accept",
    subject: str = "Report",
    **more: object,
) -> CallOutcome:
    arguments = {"engagement_id": ENGAGEMENT, "kind": kind, "decision": decision, "subject": subject}
    return await gate.call("signoff_record", {**arguments, "version": version, **more}, by)


async def both_signed(gate: GateOnTest, version: str = "1") -> None:
    assert (await signed(gate, "REPORT_FINAL", version)).outcome == "done"
    assert (await signed(gate, "EQR_REVIEW", version, by=EQR)).outcome == "done"


async def state_of(gate: GateOnTest, control: str = "report_release") -> tuple[object, object]:
    found = await gate.call("release_check", {"control": control, "engagement_id": ENGAGEMENT}, PARTNER)
    assert found.result is not None, found
    return found.result["state"], found.result["missing"]


def code_of(outcome: CallOutcome) -> str | None:
    return None if outcome.error is None else outcome.error.code


def reasons_of(outcome: CallOutcome) -> tuple[str, ...]:
    assert outcome.outcome == "denied", outcome
    assert outcome.verdict is not None
    return outcome.verdict.reasons


# Sign-offs ------------------------------------------------------------------------------------------------------------


async def test_a_control_is_satisfied_once_each_kind_is_signed_by_whoever_signs_it(gate: GateOnTest) -> None:
    assert await state_of(gate) == ("pending", ["EQR_REVIEW", "REPORT_FINAL"])
    await signed(gate, "REPORT_FINAL")
    assert await state_of(gate) == ("pending", ["EQR_REVIEW"])
    await signed(gate, "EQR_REVIEW", by=EQR)
    assert await state_of(gate) == ("satisfied", [])
    assert await state_of(gate, "period_lock") == ("not_applicable", [])


@pytest.mark.parametrize(
    ("kind", "by", "reason"),
    [
        ("REPORT_FINAL", MANAGER, "signoff_needs_partner"),
        ("PLAN_REVIEW", EQR, "signoff_needs_partner"),
        ("EQR_REVIEW", PARTNER, "signoff_needs_eqr"),
        ("EQR_REVIEW", ADMIN, "signoff_needs_eqr"),
        ("VAT_RETURN", EQR, "signoff_needs_manager"),
    ],
)
async def test_nobody_signs_what_is_anothers_to_sign(
    gate: GateOnTest, kind: str, by: Principal, reason: str, superuser_connection: Connection
) -> None:
    assert reasons_of(await signed(gate, kind, by=by)) == (reason,)
    made = "SELECT count(*) FROM sign_offs WHERE engagement_id = $1"
    assert await superuser_connection.fetchval(made, UUID(ENGAGEMENT)) == 0


async def test_no_agent_signs_whatever_its_level_and_whoever_it_acts_for(gate: GateOnTest) -> None:
    for principal in (replace(PARTNER, mode="agent"), principal_of(who="service", mode="person", door="rest")):
        assert "agent_may_not" in reasons_of(await signed(gate, "REPORT_FINAL", by=principal))


async def test_a_newer_version_takes_away_what_was_signed_before_by_whomever(gate: GateOnTest) -> None:
    await both_signed(gate)
    await signed(gate, "REPORT_FINAL", "2")
    assert await state_of(gate) == ("pending", ["EQR_REVIEW"])
    await signed(gate, "EQR_REVIEW", "2", by=EQR)
    assert await state_of(gate) == ("satisfied", [])


async def test_a_late_word_on_an_older_version_never_makes_two_versions_pass_for_one(gate: GateOnTest) -> None:
    await signed(gate, "REPORT_FINAL", "2")
    await signed(gate, "EQR_REVIEW", "1", by=EQR)
    state, missing = await state_of(gate)
    assert (state, missing) == ("pending", ["REPORT_FINAL"])


async def test_one_rejection_asks_for_changes_until_it_is_taken_back_or_outdated(gate: GateOnTest) -> None:
    await both_signed(gate)
    await signed(gate, "EQR_REVIEW", by=EQR, decision="reject", comment="note 7")
    assert await state_of(gate) == ("changes_required", ["EQR_REVIEW"])
    await signed(gate, "REPORT_FINAL", "2")
    assert await state_of(gate) == ("pending", ["EQR_REVIEW"])
    await signed(gate, "EQR_REVIEW", "2", by=EQR)
    assert await state_of(gate) == ("satisfied", [])


async def test_each_of_several_subjects_of_a_kind_must_hold(gate: GateOnTest) -> None:
    await both_signed(gate)
    await signed(gate, "REPORT_FINAL", subject="Management letter")
    assert await state_of(gate) == ("satisfied", [])
    await signed(gate, "REPORT_FINAL", subject="Management letter", decision="reject")
    assert await state_of(gate) == ("changes_required", ["REPORT_FINAL"])


async def test_a_subject_is_the_same_however_it_is_written(gate: GateOnTest) -> None:
    await both_signed(gate)
    await signed(gate, "REPORT_FINAL", "2", subject="  the   REPORT ")
    await signed(gate, "REPORT_FINAL", "2", subject=" REPORT ")
    assert await state_of(gate) == ("pending", ["EQR_REVIEW"])


async def test_other_engagements_sign_offs_count_for_nothing(gate: GateOnTest) -> None:
    engagement = str(FIRM_A.id("engagement"))
    await signed(gate, "REPORT_FINAL", engagement_id=engagement)
    assert await state_of(gate) == ("pending", ["EQR_REVIEW", "REPORT_FINAL"])


async def test_a_documents_sign_off_falls_with_the_documents_version_and_with_the_document(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    subject = str(FIRM_A.id("thing"))
    stale = await signed(gate, "VAT_RETURN", "7", by=MANAGER, subject=subject)
    assert (stale.outcome, code_of(stale)) == ("invalid", "stale_version")
    await signed(gate, "VAT_RETURN", "1", by=MANAGER, subject=subject)
    assert await state_of(gate, "filings_submit") == ("satisfied", [])
    update = "UPDATE knowledge_documents SET version = 2 WHERE document_id = $1"
    await owner_connection.execute(update, FIRM_A.id("thing"))
    assert await state_of(gate, "filings_submit") == ("pending", ["VAT_RETURN"])
    await signed(gate, "VAT_RETURN", "2", by=MANAGER, subject=subject)
    assert await state_of(gate, "filings_submit") == ("satisfied", [])
    gone = "UPDATE knowledge_documents SET deleted_at = now(), purge_at = now() WHERE document_id = $1"
    await owner_connection.execute(gone, FIRM_A.id("thing"))
    assert await state_of(gate, "filings_submit") == ("pending", ["VAT_RETURN"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": "MOON_PHASE"}, "unknown_kind"),
        ({"kind": "plan review"}, "invalid_arguments"),
        ({"engagement_id": str(FIRM_B.id("engagement"))}, "engagement_not_found"),
        ({"version": " "}, "invalid_arguments"),
        ({"decision": "maybe"}, "invalid_arguments"),
    ],
)
async def test_a_sign_off_that_makes_no_sense_is_refused(gate: GateOnTest, changes: Json, code: str) -> None:
    fields: Json = {"engagement_id": ENGAGEMENT, "kind": "VAT_RETURN", "decision": "accept", "subject": "return"}
    ended = await gate.call("signoff_record", {**fields, "version": "1", **changes}, MANAGER)
    assert (ended.outcome, code_of(ended)) == ("invalid", code)


# Releases -------------------------------------------------------------------------------------------------------------

EVIDENCE = [{"subject": "Report", "version": "1", "note": "sent to the client's board by hand"}]


async def submitted(
    gate: GateOnTest, by: Principal = PARTNER, control: str = "report_release", evidence: object = None
) -> CallOutcome:
    arguments = {"control": control, "engagement_id": ENGAGEMENT, "evidence": evidence or EVIDENCE}
    return await gate.call("release_submit", arguments, by)


async def decided(gate: GateOnTest, waiting: CallOutcome, by: Principal, decision: str = "approve") -> Json:
    assert waiting.approval is not None, waiting
    arguments = {"approval_id": str(waiting.approval.approval_id), "decision": decision}
    ended = await gate.call("approval_decide", arguments, by)
    assert ended.result is not None, ended
    return cast(Json, ended.result["call"])


async def test_a_release_waits_for_a_second_pair_of_eyes_and_is_kept_with_what_it_rested_on(gate: GateOnTest) -> None:
    await both_signed(gate)
    waiting = await submitted(gate)
    assert waiting.outcome == "waiting"
    assert waiting.approval is not None
    assert (waiting.approval.needs_role, waiting.approval.four_eyes) == (Role.PARTNER, True)
    arguments = {"approval_id": str(waiting.approval.approval_id), "decision": "approve"}
    assert reasons_of(await gate.call("approval_decide", arguments, PARTNER)) == ("four_eyes_needed",)

    call = await decided(gate, waiting, ADMIN)

    assert call["outcome"] == "done"
    release = cast(Json, cast(Json, call["result"])["release"])
    assert (release["control"], release["state"]) == ("report_release", "satisfied")
    assert release["evidence"] == [{"subject": "report", "version": "1", "note": "sent to the client's board by hand"}]
    assert len(cast("list[str]", release["sign_off_ids"])) == 2
    assert (release["released_by"], release["approved_by"]) == (
        "partner@firm-1.example",
        "system_admin@more-1.example",
    )
    found = await gate.call("release_check", {"control": "report_release", "engagement_id": ENGAGEMENT}, PARTNER)
    assert found.result is not None
    assert found.result["releases"] == [release]


async def test_what_is_not_signed_off_cannot_even_be_asked_for(gate: GateOnTest) -> None:
    assert reasons_of(await submitted(gate)) == ("control_not_satisfied",)


@pytest.mark.parametrize("change", ["reject", "newer version"])
async def test_a_sign_off_taken_away_while_the_release_waits_stops_it(gate: GateOnTest, change: str) -> None:
    await both_signed(gate)
    waiting = await submitted(gate)
    if change == "reject":
        await signed(gate, "EQR_REVIEW", by=EQR, decision="reject")
    else:
        await signed(gate, "EQR_REVIEW", "2", by=EQR)
    call = await decided(gate, waiting, ADMIN)
    assert call["outcome"] == "denied"
    assert "control_not_satisfied" in str(call["error"])


@pytest.mark.parametrize("evidence", [[{"subject": "Report", "version": "2"}], [{"subject": "Letter", "version": "1"}]])
async def test_nothing_leaves_in_another_version_than_was_signed(gate: GateOnTest, evidence: list[Json]) -> None:
    await both_signed(gate)
    call = await decided(gate, await submitted(gate, evidence=evidence), ADMIN)
    assert (call["outcome"], cast(Json, call["error"])["code"]) == ("invalid", "evidence_differs")


async def test_nothing_leaves_that_nobody_signed_beside_what_was_signed(gate: GateOnTest) -> None:
    await both_signed(gate)
    await signed(gate, "VAT_RETURN", "7", by=MANAGER, subject="Management letter")
    evidence = [*EVIDENCE, {"subject": "Management letter", "version": "7"}]
    call = await decided(gate, await submitted(gate, evidence=evidence), ADMIN)
    assert (call["outcome"], cast(Json, call["error"])["code"]) == ("invalid", "evidence_unsigned")
    await signed(gate, "REPORT_FINAL", "7", subject="Management letter")
    assert (await decided(gate, await submitted(gate, evidence=evidence), ADMIN))["outcome"] == "done"


async def test_a_control_that_asks_for_nothing_lets_anything_leave(gate: GateOnTest) -> None:
    call = await decided(gate, await submitted(gate, control="period_lock"), ADMIN)
    assert (call["outcome"], cast(Json, cast(Json, call["result"])["release"])["state"]) == ("done", "not_applicable")


async def test_a_manager_submits_a_filing_and_releases_nothing_else(gate: GateOnTest) -> None:
    await both_signed(gate)
    assert reasons_of(await submitted(gate, MANAGER)) == ("releasing_needs_partner",)
    await signed(gate, "VAT_RETURN", by=MANAGER, subject="return")
    evidence = [{"subject": "return", "version": "1"}]
    waiting = await submitted(gate, MANAGER, "filings_submit", evidence)
    assert (await decided(gate, waiting, PARTNER))["outcome"] == "done"


async def test_a_rejection_and_a_release_at_once_leave_no_release_of_what_was_rejected_before(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    for number in range(1, 4):
        version = str(number)
        await both_signed(gate, version)
        waiting = await submitted(gate, evidence=[{"subject": "report", "version": version}])
        rejection = signed(gate, "EQR_REVIEW", version, by=EQR, decision="reject")
        _, call = await asyncio.gather(rejection, decided(gate, waiting, ADMIN))
        made = "SELECT count(*) FROM releases WHERE call_id = $1"
        rows = await superuser_connection.fetchval(made, UUID(str(call["call_id"])))
        assert rows == (1 if call["outcome"] == "done" else 0)
        if call["outcome"] != "done":
            assert call["outcome"] in ("denied", "invalid")


async def test_the_agent_asks_what_a_release_would_get(gate: GateOnTest) -> None:
    asked = {
        "tool": "release_submit",
        "arguments": {"control": "report_release", "engagement_id": ENGAGEMENT, "evidence": EVIDENCE},
    }
    agent = replace(PARTNER, mode="agent", door="chat")
    before = await gate.call("autonomy_query", asked, agent)
    await both_signed(gate)
    after = await gate.call("autonomy_query", asked, agent)
    assert before.result is not None
    assert after.result is not None
    assert cast(Json, before.result["tool"])["reasons"] == ["control_not_satisfied"]
    assert cast(Json, after.result["tool"])["decision"] == "needs_approval"
