"""Each call is recorded with the engagement that it is about: nobody can write that into the record afterwards."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast
from uuid import UUID, uuid4

import pytest

from domain.kernel import CallId, EngagementId, Principal, PrincipalId, Role
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.calls import add_member
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import CallOutcome, CallRequest, Json

PARTNER = principal_of(who="partner", mode="person", door="rest")
EQR = replace(PARTNER, principal_id=PrincipalId(FIRM_A.id(Role.EQR)))
ADMIN = replace(PARTNER, principal_id=PrincipalId(FIRM_A.id(Role.SYSTEM_ADMIN)))
ENGAGEMENT = str(FIRM_A.id("other_engagement"))
ENGAGEMENTS_OF = "SELECT DISTINCT engagement_id FROM activity_events WHERE call_id = $1"
SIGNED: Json = {"engagement_id": ENGAGEMENT, "decision": "accept", "subject": "Report", "version": "1"}
ASKED: Json = {"control": "report_release", "engagement_id": ENGAGEMENT}
SUBMITTED: Json = {**ASKED, "evidence": [{"subject": "Report", "version": "1"}]}


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    needs = "INSERT INTO release_controls (organization_id, name, needs) VALUES ($1, 'report_release', $2)"
    await owner_connection.execute(needs, FIRM_A.organization_id, ["REPORT_FINAL", "EQR_REVIEW"])
    for role in (Role.EQR, Role.SYSTEM_ADMIN):
        await add_member(owner_connection, role)
    async with gate_on(pools) as opened:
        yield opened


async def call(
    gate: GateOnTest, tool: str, arguments: Json, by: Principal = PARTNER, among: str | None = None
) -> CallOutcome:
    """A call from a conversation of the engagement `among`, or from none."""
    conversation = None if among is None else EngagementId(FIRM_A.id(among))
    asked = CallRequest(call_id=CallId(uuid4()), tool=tool, arguments=arguments, engagement_id=conversation)
    return await gate.gate.call(asked, by)


@pytest.mark.parametrize("among", [None, "engagement"])
async def test_a_call_is_recorded_with_the_engagement_it_is_about_wherever_it_was_asked_for(
    gate: GateOnTest, superuser_connection: Connection, among: str | None
) -> None:
    created = await call(gate, "task_create", {"title": "Figures", "engagement_id": ENGAGEMENT}, among=among)
    kind: Json = {"title": "Again", "kind": "refresh_analytics", "input": {}, "engagement_id": ENGAGEMENT}
    workflow = await call(gate, "task_create", kind, among=among)
    assert workflow.result is not None, workflow
    task_id = cast(Json, workflow.result["task"])["task_id"]
    started = await call(gate, "task_run", {"task_id": task_id}, among=among)
    assert started.result is not None, started
    run: Json = {"task_run_id": cast(Json, started.result["task_run"])["task_run_id"]}
    calls = [
        created,
        started,
        await call(gate, "task_run_get", run, among=among),
        await call(gate, "task_run_cancel", run, among=among),
        await call(gate, "signoff_record", {**SIGNED, "kind": "REPORT_FINAL"}, among=among),
        await call(gate, "signoff_record", {**SIGNED, "kind": "EQR_REVIEW"}, EQR, among=among),
        await call(gate, "release_check", ASKED, among=among),
        await call(gate, "release_submit", SUBMITTED, among=among),
        await call(gate, "release_submit", SUBMITTED, principal_of(who="employee", mode="person"), among=among),
    ]
    assert [each.outcome for each in calls] == ["done"] * 7 + ["waiting", "denied"]
    for each in calls:
        rows = await superuser_connection.fetch(ENGAGEMENTS_OF, each.call_id)
        assert [row["engagement_id"] for row in rows] == [UUID(ENGAGEMENT)], each.tool


async def test_a_question_and_its_decision_count_for_the_engagement_they_are_about(gate: GateOnTest) -> None:
    for kind, by in (("REPORT_FINAL", PARTNER), ("EQR_REVIEW", EQR)):
        await call(gate, "signoff_record", {**SIGNED, "kind": kind}, by)
    waiting = await call(gate, "release_submit", SUBMITTED, among="engagement")
    assert waiting.approval is not None, waiting
    decision: Json = {"approval_id": str(waiting.approval.approval_id), "decision": "approve"}
    assert (await call(gate, "approval_decide", decision, ADMIN)).outcome == "done"

    async def counted(report: str, engagement: str) -> object:
        asked: Json = {"report": report, "engagement_id": engagement}
        told = (await call(gate, "analytics_report", asked)).result
        assert told is not None
        return cast("list[Json]", told["headline"])[0]["value"]

    assert await counted("approvals", ENGAGEMENT) == 1
    assert await counted("activity", ENGAGEMENT) == 5  # of which one is the report on the approvals
    assert await counted("approvals", str(FIRM_A.id("engagement"))) == 0
