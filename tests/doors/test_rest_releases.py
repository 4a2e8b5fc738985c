"""Release controls and sign-offs over REST, on the demo firm's own controls: from nothing signed to a release."""

import pytest

from domain.resources import resource_folder
from server.demo.firm import load_firm
from tests.support.doors import Doors, problem_of

NOTHING = "4a0c3f6e-0000-4000-8000-000000000000"
ACME = next(each for each in load_firm(resource_folder("demo")).organizations if each.slug == "acme-audit")
ENGAGEMENT = str(ACME.id("engagement", "ostrivane-audit-2026"))


def sign_off(kind: str, version: str = "1", decision: str = "accept") -> dict[str, object]:
    """The contract's body."""
    return {
        "engagement_id": ENGAGEMENT,
        "kind": kind,
        "decision": decision,
        "subject": "Auditor's report",
        "version": version,
        "comment": "read in full",
    }


async def test_a_report_is_signed_off_by_two_and_released_by_two(doors: Doors) -> None:
    partner, reviewer = await doors.client("partner@acme"), await doors.client("eqr@acme")
    admin = await doors.client("admin@acme")
    check = {"control": "report_release", "engagement_id": ENGAGEMENT}
    first = (await partner.post("/v1/release-controls/check", json=check)).json()
    assert (first["state"], first["missing"]) == ("pending", ["EQR_REVIEW", "REPORT_FINAL"])

    signed = await partner.post("/v1/sign-offs", json=sign_off("REPORT_FINAL"))
    assert (signed.status_code, signed.json()["signed_by"]) == (201, "partner@acme.example")
    assert (await reviewer.post("/v1/sign-offs", json=sign_off("EQR_REVIEW"))).status_code == 201
    found = (await partner.get(f"/v1/release-controls/report_release?engagement_id={ENGAGEMENT}")).json()
    assert (found["state"], found["missing"]) == ("satisfied", [])

    arguments = {**check, "evidence": [{"subject": "Auditor's report", "version": "1"}]}
    asked = await partner.post("/v1/tools/release_submit/call", json={"arguments": arguments})
    assert (asked.status_code, asked.json()["outcome"]) == (202, "waiting")
    path = f"/v1/approvals/{asked.json()['approval_id']}/decision"
    problem_of(await partner.post(path, json={"decision": "approve"}), 403, "denied")
    decided = (await admin.post(path, json={"decision": "approve"})).json()
    assert (decided["state"], decided["call"]["outcome"]) == ("executed", "done")
    released = decided["call"]["result"]["release"]
    assert (released["released_by"], released["approved_by"]) == ("partner@acme.example", "admin@acme.example")


@pytest.mark.parametrize(
    ("who", "kind", "reason"),
    [
        ("manager@acme", "REPORT_FINAL", "signoff_needs_partner"),
        ("partner@acme", "EQR_REVIEW", "signoff_needs_eqr"),
        ("eqr@acme", "VAT_RETURN", "signoff_needs_manager"),
        ("employee@acme", "VAT_RETURN", "role_too_low"),
        ("client@acme", "VAT_RETURN", "role_too_low"),
    ],
)
async def test_who_may_not_sign_is_told_by_which_rule(doors: Doors, who: str, kind: str, reason: str) -> None:
    client = await doors.client(who)
    answer = await client.post("/v1/sign-offs", json=sign_off(kind))
    problem_of(answer, 403, "denied")
    assert reason in answer.json()["verdict"]["reasons"]


async def test_a_program_signs_nothing(doors: Doors) -> None:
    service = await doors.client("partner@acme", audience="service")
    answer = await service.post("/v1/sign-offs", json=sign_off("REPORT_FINAL"))
    problem_of(answer, 403, "denied")
    assert "agent_may_not" in answer.json()["verdict"]["reasons"]


async def test_a_control_says_what_it_needs_and_nothing_else_is_one(doors: Doors) -> None:
    employee, client = await doors.client(), await doors.client("client@acme")
    found = (await employee.get("/v1/release-controls/report_release")).json()
    assert found == {
        "control": "report_release",
        "needs": [{"kind": "REPORT_FINAL", "signed_by": "PARTNER"}, {"kind": "EQR_REVIEW", "signed_by": "EQR"}],
    }
    for name in ("moon_phase", "check", "%00", "report_release%00"):
        problem_of(await employee.get(f"/v1/release-controls/{name}"), 404, "not_found")
    assert (await client.get("/v1/release-controls/report_release")).json()["needs"] == []
    problem_of(await client.get(f"/v1/release-controls/report_release?engagement_id={ENGAGEMENT}"), 403, "denied")


async def test_another_firms_engagement_is_checked_and_signed_as_little_as_none(doors: Doors) -> None:
    other = await doors.client("manager@borealis")
    for engagement in (ENGAGEMENT, NOTHING):
        check = {"control": "filings_submit", "engagement_id": engagement}
        problem_of(await other.post("/v1/release-controls/check", json=check), 404, "engagement_not_found")
        body = {**sign_off("VAT_RETURN"), "engagement_id": engagement}
        problem_of(await other.post("/v1/sign-offs", json=body), 404, "engagement_not_found")


@pytest.mark.parametrize("change", [{"decision": "maybe"}, {"kind": 7}, {"spare": 1}, {"version": ""}])
async def test_an_odd_sign_off_is_refused(doors: Doors, change: dict[str, object]) -> None:
    partner = await doors.client("partner@acme")
    answer = await partner.post("/v1/sign-offs", json={**sign_off("REPORT_FINAL"), **change})
    problem_of(answer, 422, "invalid_arguments")
