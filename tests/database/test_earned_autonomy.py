"""Autonomy earned from the record, through the gate: counted, proposed, decided by a PARTNER, taken back at once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import cast
from uuid import UUID

import orjson
import pytest

from domain.earned.model import EarnedRules, ProposalId, Tally
from domain.kernel import Level, Principal, PrincipalId, Role, utc_now
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.reviews import PostgresReviews
from tests.support.calls import add_member
from tests.support.earned import (
    AGENT,
    HAND,
    HUB,
    ORGANIZATION,
    PARTNER,
    Firm,
    found_firms,
    manager,
    some_id,
)
from tests.support.firms import FIRM_A, FIRM_B
from tests.support.gates import failing, gate_on, principal_of
from tests.support.ledger import seal
from tools.outcomes import Json
from tools.work import CallContext

SOON = EarnedRules(minimum_calls=5, bound_to_raise={"prepare": 0.5, "commit": 0.5})
"""So that few calls bear a proposal."""


WATCHED = """
@id("ask_worker") @says("Somebody reads what is done in the background.")
forbid (principal, action == Action::"call_without_approval", resource) when { principal.door == Door::"worker" };
"""
MEMBER = {"scope": "member", "member": f"employee@firm-{FIRM_A.n}.example"}
ADMIN = principal_of(FIRM_A, Role.SYSTEM_ADMIN, mode="person", door="rest")


async def broken(arguments: object, context: CallContext) -> Json:
    raise RuntimeError("a fault of the tool's own")


@pytest.fixture
async def firm(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[Firm]:
    await found_firms(owner_connection)
    async with gate_on(pools, earned=lambda: SOON) as gate:
        yield Firm(gate=gate, pools=pools)


async def earns(firm: Firm, calls: int = 5) -> ProposalId:
    """A proposal that the record bears."""
    await firm.ceiling("L1")
    for _ in range(calls):
        await firm.answered()
    (proposed,) = cast("list[str]", (await firm.reviewed())["proposed"])
    return ProposalId(UUID(proposed))


async def test_what_others_approved_and_stood_is_counted_and_what_went_wrong_too(firm: Firm) -> None:
    await firm.ceiling("L1")
    undone = await firm.answered()
    for by in (PARTNER, manager()):
        await firm.answered(by=by)
    await firm.answered(by=HAND)  # whoever asked
    await firm.answered("reject")
    await firm.answered("reject", by=HAND)
    await firm.cancels(undone)
    reviewed = await firm.reviewed()
    records, progress = await firm.records()
    tally = records["task_create"].tally
    assert replace(tally, bound=0) == Tally(approved=2, rejected=2, reversed=1)
    assert len(cast("list[Json]", reviewed["reversed"])) == 1
    assert progress.through == reviewed["through"]
    recount = await firm.recount()
    assert list(records.values()) == list(recount.records(SOON.counting, progress.through))

    query = await firm.gate.call("autonomy_query", {"tool": "task_create"}, AGENT)
    (earned,) = cast("list[Json]", cast(Json, query.result)["earned"])
    assert (earned["approved"], earned["rejected"], earned["bound"]) == (2, 2, tally.bound)
    client = await firm.gate.call("autonomy_query", {}, principal_of(who="client"))
    assert cast(Json, client.result)["earned"] == []


async def test_a_proposal_comes_with_its_evidence_and_a_partners_yes_raises_the_tool_for_the_next_call(
    firm: Firm, pools: DatabasePools
) -> None:
    proposal_id = await earns(firm)
    (proposal,) = await firm.proposals()
    evidence = orjson.loads(proposal.evidence)
    assert (proposal.tool, proposal.from_level, proposal.to_level, proposal.state) == (
        "task_create",
        Level.L1,
        Level.L2,
        "open",
    )
    assert (evidence["approved"], len(evidence["calls"])) == (5, 5)
    assert evidence["bound"] >= evidence["needed"]
    assert await firm.asks(), "nothing is raised by itself"

    decided = await firm.decide(proposal_id, "accept", comment="Well earned.")
    assert decided.outcome == "done", decided
    async with gate_on(pools) as other:
        assert (await other.call("task_create", {"title": "T"}, AGENT)).outcome == "done"
    (accepted,) = await firm.proposals()
    assert (accepted.state, accepted.decided_by, accepted.comment) == (
        "accepted",
        "partner@firm-1.example",
        "Well earned.",
    )
    settings = await setting_reasons(firm)
    assert str(proposal_id) in settings[0]
    assert "5 of 5 calls stood" in settings[0]
    again = await firm.decide(proposal_id, "accept")
    assert again.error is not None
    assert again.error.code == "already_decided"


async def setting_reasons(firm: Firm) -> list[str]:
    """Of the tool's settings, newest first."""
    async with firm.gate.transactions.session(ORGANIZATION, PARTNER.principal_id) as session:
        rows = await session.connection.fetch(
            "SELECT reason FROM autonomy_settings WHERE scope = 'tool' AND subject = 'task_create' "
            "ORDER BY changed_at DESC"
        )
    return [row["reason"] for row in rows]


async def test_the_ceilings_of_member_and_organization_hold_whatever_was_earned(firm: Firm) -> None:
    proposal_id = await earns(firm)
    member = {"scope": "member", "member": "employee@firm-1.example", "ceiling": "L1", "reason": "new here"}
    await firm.done("autonomy_set", member, PARTNER)
    assert (await firm.decide(proposal_id, "accept")).outcome == "done"
    assert await firm.asks(), "the member's own ceiling"
    await firm.done("autonomy_set", {**member, "ceiling": "L2"}, PARTNER)
    switch = {"scope": "organization", "autopilot_disabled": True, "reason": "stop"}
    await firm.done("autonomy_set", switch, PARTNER)
    assert await firm.asks(), "the switch"


async def test_where_the_tools_own_ceiling_is_not_what_binds_nothing_is_proposed(firm: Firm) -> None:
    await firm.done("autonomy_set", {"scope": "organization", "level": "L1", "reason": "r"}, PARTNER)
    for _ in range(6):
        await firm.answered()
    assert (await firm.reviewed())["proposed"] == [], "the tool has no ceiling"
    await firm.ceiling("L1")
    for _ in range(6):
        await firm.answered()
    assert (await firm.reviewed())["proposed"] == [], "the organization's level binds"
    await firm.done("autonomy_set", {"scope": "organization", "level": "L2", "reason": "r"}, PARTNER)
    assert len(cast("list[str]", (await firm.reviewed())["proposed"])) == 1


async def test_a_proposal_rests_on_what_came_after_the_ceiling_was_set_and_after_the_last_decision(firm: Firm) -> None:
    proposal_id = await earns(firm)
    assert (await firm.decide(proposal_id, "reject", comment="Not yet.")).outcome == "done"
    await firm.answered()
    assert (await firm.reviewed())["proposed"] == []
    for _ in range(4):
        await firm.answered()
    (second,) = cast("list[str]", (await firm.reviewed())["proposed"])
    await firm.ceiling("L1")
    outdated = await firm.decide(UUID(second), "accept")
    assert outdated.error is not None
    assert outdated.error.code == "proposal_outdated"
    assert (await firm.reviewed())["withdrawn"] == [second]
    assert [proposal.state for proposal in await firm.proposals()] == ["withdrawn", "rejected"]


async def test_the_requesters_own_approvals_bear_no_proposal(firm: Firm) -> None:
    await firm.ceiling("L1")
    for _ in range(6):
        await firm.answered(by=HAND)
    assert (await firm.reviewed())["proposed"] == []


async def test_a_deputy_of_the_requester_bears_no_proposal_either(firm: Firm) -> None:
    asker = manager()
    deputy = {"delegate": "employee@firm-1.example", "ends_at": (utc_now() + timedelta(days=3)).date().isoformat()}
    await firm.done("delegation_give", deputy, asker)
    asked = await firm.gate.call(
        "document_delete", {"document_id": str(FIRM_A.id("thing"))}, replace(asker, mode="agent", door="widget")
    )
    assert asked.approval is not None
    await firm.done("approval_decide", {"approval_id": str(asked.approval.approval_id), "decision": "approve"}, HAND)
    await firm.reviewed()
    records, _ = await firm.records()
    assert records["document_delete"].tally.approved == 0
    assert list((await firm.recount()).records(SOON.counting, 1000)) == list(records.values())


async def test_rejections_take_the_autonomy_back_before_the_next_call(firm: Firm) -> None:
    await firm.done("autonomy_set", {"scope": "organization", "level": "L1", "reason": "r"}, PARTNER)
    asked = [await firm.asks() for _ in range(3)]
    await firm.done("autonomy_set", {"scope": "organization", "level": "L2", "reason": "r"}, PARTNER)
    for number, approval_id in enumerate(asked, 1):
        assert (await firm.gate.call("task_create", {"title": "T"}, AGENT)).outcome == "done", number
        await firm.done("approval_decide", {"approval_id": str(approval_id), "decision": "reject"}, HAND)
    assert await firm.asks(), "with nothing sealed, and no job run"
    (reason,) = await setting_reasons(firm)
    assert reason.startswith("Lowered from the record: 3 of the agent's newest 6 calls")
    await firm.ceiling(None)
    assert (await firm.gate.call("task_create", {"title": "T"}, AGENT)).outcome == "done", "a PARTNER's word"
    assert (await firm.reviewed())["lowered"] == [], "what came before it counts no more"


async def test_failures_take_the_autonomy_back_before_the_next_call_also_when_made_at_once(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    await found_firms(owner_connection)
    async with gate_on(pools, failing("task_create", broken)) as gate:
        ended = await asyncio.gather(*(gate.call("task_create", {"title": "T"}, AGENT) for _ in range(5)))
        assert [each.outcome for each in ended] == ["failed"] * 5
        assert (await gate.call("task_create", {"title": "T"}, AGENT)).outcome == "waiting"
        by_hand = await gate.call("task_create", {"title": "T"}, HAND)
        assert by_hand.outcome == "failed", "a person's own hand is bound by no autonomy"
        assert len(await setting_reasons(Firm(gate=gate, pools=pools))) == 1


async def test_an_organizations_own_policy_does_not_keep_the_autonomy_from_being_taken_back(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    await found_firms(owner_connection)
    await add_member(owner_connection, Role.SYSTEM_ADMIN)
    async with gate_on(pools, failing("task_create", broken)) as gate:
        added = await gate.call("policy_add", {"text": WATCHED, "reason": "r"}, ADMIN)
        assert added.outcome == "done"
        ended = [(await gate.call("task_create", {"title": "T"}, AGENT)).outcome for _ in range(4)]
        assert ended == ["failed", "failed", "failed", "waiting"]


async def test_a_tool_that_acts_from_a_lower_level_is_lowered_below_it(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    await found_firms(owner_connection)
    async with gate_on(pools, failing("task_run", broken)) as gate:
        made = (await gate.call("task_create", {"title": "R", "kind": "refresh_analytics"}, HAND)).result
        task = {"task_id": cast("Json", cast("Json", made)["task"])["task_id"]}
        ended = [(await gate.call("task_run", task, AGENT)).outcome for _ in range(4)]
        assert ended == ["failed", "failed", "failed", "waiting"]


async def test_what_a_person_undoes_takes_the_autonomy_back(firm: Firm) -> None:
    made = [await firm.done("task_create", {"title": "T"}, AGENT) for _ in range(3)]
    for outcome in made:
        task_id = UUID(cast(str, cast(Json, cast(Json, outcome.result)["task"])["task_id"]))
        await firm.cancels(task_id, PARTNER)
        await firm.cancels(task_id, PARTNER)
    reviewed = await firm.reviewed()
    assert reviewed["lowered"] == [{"tool": "task_create", "level": "L1"}]
    assert (await firm.records())[0]["task_create"].tally.reversed == 3
    assert await firm.asks()


async def test_what_the_agent_deletes_and_a_person_restores_is_undone_once_each_time(firm: Firm) -> None:
    content = b"# Notes\n\nA letter."
    async with firm.gate.staging.holding(HAND, content) as digest:
        asked = {"title": "Notes", "file_name": "a.md", "content_sha256": digest, "size_bytes": len(content)}
        taken = await firm.done("document_upload", asked, HAND)
    document = {"document_id": cast(Json, cast(Json, taken.result)["document"])["document_id"]}
    await firm.done("autonomy_set", {"scope": "organization", "level": "L3", "reason": "r"}, PARTNER)
    await firm.done("autonomy_set", {**MEMBER, "floor": "L0", "ceiling": "L3", "reason": "r"}, PARTNER)
    agent = replace(AGENT, door="rest")
    for _ in range(3):
        await firm.done("document_delete", document, agent)
        await firm.done("document_restore", document, HAND)
    # What the agent brings back itself, nobody has undone.
    await firm.done("document_delete", document, agent)
    await firm.done("document_restore", document, agent)
    reviewed = await firm.reviewed()
    assert reviewed["lowered"] == [{"tool": "document_delete", "level": "L2"}]
    records, progress = await firm.records()
    assert records["document_delete"].tally.reversed == 3
    assert list(records.values()) == list((await firm.recount()).records(SOON.counting, progress.through))
    asked_for = await firm.gate.call("document_delete", document, agent)
    assert asked_for.outcome == "waiting"


async def test_what_the_agent_itself_cancels_is_not_undone_by_a_person(firm: Firm) -> None:
    made = await firm.done("task_create", {"title": "T"}, AGENT)
    task_id = cast(Json, cast(Json, made.result)["task"])["task_id"]
    await firm.done("task_update", {"task_id": task_id, "status": "cancelled"}, AGENT)
    assert (await firm.reviewed())["reversed"] == []


async def test_what_was_erased_stays_counted_by_what_reviews_noted(firm: Firm, owner_connection: Connection) -> None:
    await firm.ceiling("L1")
    await firm.cancels(await firm.answered())
    await firm.reviewed()
    await firm.reviewed()
    await owner_connection.execute(
        "DELETE FROM activity_payloads p USING activity_events e WHERE e.event_id = p.event_id AND e.tool <> $1",
        "autonomy_review",
    )
    records, progress = await firm.records()
    assert records["task_create"].tally.reversed == 1
    recount = await firm.recount()
    assert list(records.values()) == list(recount.records(SOON.counting, progress.through))


async def test_nobody_below_a_partner_and_no_agent_decides_and_nobody_else_reviews(firm: Firm) -> None:
    proposal_id = await earns(firm)
    agent = principal_of(who="partner")
    tried: tuple[tuple[Principal, str], ...] = (
        (manager(), "role_too_low"),
        (HAND, "role_too_low"),
        (agent, "agent_may_not"),
        (HUB, "agent_may_not"),
    )
    for by, reason in tried:
        ended = await firm.decide(proposal_id, "accept", by)
        assert ended.outcome == "denied"
        assert ended.verdict is not None
        assert reason in ended.verdict.reasons
    (proposal,) = await firm.proposals()
    assert proposal.state == "open"
    for by in (PARTNER, agent, HAND):
        assert (await firm.gate.call("autonomy_review", {}, by)).outcome == "denied"


async def test_another_firms_proposals_are_not_there(firm: Firm) -> None:
    proposal_id = await earns(firm)
    foreign = await firm.decide(proposal_id, "accept", principal_of(FIRM_B, "partner", mode="person", door="rest"))
    missing = await firm.decide(some_id(), "accept")
    for ended in (foreign, missing):
        assert ended.error is not None
        assert ended.error.code == "proposal_not_found"
    assert await firm.proposals(PrincipalId(FIRM_A.id("client"))) == ()


async def test_of_two_partners_answers_at_once_one_counts(firm: Firm) -> None:
    proposal_id = await earns(firm)
    ended = await asyncio.gather(*(firm.decide(proposal_id, answer) for answer in ("accept", "reject", "accept")))
    assert sorted(each.outcome for each in ended) == ["done", "invalid", "invalid"]


async def test_a_firm_is_due_when_its_record_says_something_new_and_not_before(firm: Firm) -> None:
    reviews = PostgresReviews(firm.pools.service)
    await firm.done("task_list", {}, HAND)
    await firm.reviewed()

    async def due() -> bool:
        return any(each.due for each in await reviews.grown({}) if each.organization_id == ORGANIZATION)

    assert not await due(), "the review's own events say nothing"
    await firm.ceiling("L1")
    await firm.answered()
    assert not await due(), "nothing of it is sealed"
    await firm.done("autonomy_review", {}, HUB)
    await seal(firm.pools.service)
    assert await due()
    (grown,) = [each for each in await reviews.grown({}) if each.organization_id == ORGANIZATION]
    assert [each for each in await reviews.grown({ORGANIZATION: grown.size}) if each.due] == []
    await firm.done("autonomy_review", {}, HUB)
    assert not await due()
