"""A firm whose agent asks before it makes tasks: calls answered by its people, sealed, and reviewed by the hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast
from uuid import UUID, uuid4

from domain.earned.model import Progress, Proposal, ProposalQuery, ToolRecord
from domain.earned.recounting import Recount
from domain.kernel import OrganizationId, Principal, PrincipalId, Role, utc_now
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.exports import exported
from tests.support.calls import add_member
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import GateOnTest, principal_of
from tests.support.ledger import seal
from tools.outcomes import CallOutcome, Json

AGENT = principal_of()
HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
HUB = principal_of(who="service", door="worker")
ORGANIZATION = OrganizationId(FIRM_A.organization_id)

CLEARED = """
DELETE FROM activity_payloads; DELETE FROM activity_events; DELETE FROM ledger_rotations; DELETE FROM ledger_heads;
DELETE FROM ledger_keys;
DELETE FROM ledger_nodes; DELETE FROM ledger_leaves; DELETE FROM autonomy_calls; DELETE FROM autonomy_records;
DELETE FROM autonomy_progress; DELETE FROM autonomy_proposals;
"""


async def found_firms(owner: Connection) -> None:
    """Both firms with a MANAGER beside, whose record is empty."""
    await seed_firms(owner)
    await add_member(owner, Role.MANAGER)
    await owner.execute(CLEARED)


PROPOSED = """
INSERT INTO autonomy_proposals (organization_id, proposal_id, tool, from_level, to_level, evidence, through, state,
    proposed_by, proposed_at)
SELECT o.organization_id, gen_random_uuid(), 'task_create', 1, 2, '{"approved":35,"rejected":0,"failed":0,"reversed":0,'
    '"bound":0.9,"needed":0.9,"since":null,"rules":{"reversal_days":30,"window_calls":200,"z":1.96},"calls":[{"call_id":"'
    || gen_random_uuid() || '","mark":"approved","ended_at":"2026-11-02T09:00:00+00:00"}]}', 7, 'open', m.user_id, now()
FROM organizations o JOIN memberships m USING (organization_id)
WHERE o.slug = $1 AND m.role = 'SERVICE_ACCOUNT' RETURNING proposal_id
"""
"""A proposal, written by the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firm:
    """What happens in the first firm."""

    gate: GateOnTest
    pools: DatabasePools

    async def ceiling(self, level: str | None, tool: str = "task_create") -> CallOutcome:
        return await self.done(
            "autonomy_set",
            {"scope": "tool", "tool": tool, "level": level, "reason": "as the partners decided"},
            PARTNER,
        )

    async def done(self, tool: str, arguments: object, principal: Principal) -> CallOutcome:
        outcome = await self.gate.call(tool, arguments, principal)
        assert outcome.outcome == "done", outcome
        return outcome

    async def asks(self, title: str = "Count the chairs") -> UUID:
        """The approval that a call of the agent's waits for."""
        outcome = await self.gate.call("task_create", {"title": title}, AGENT)
        assert outcome.approval is not None, outcome
        return outcome.approval.approval_id

    async def answered(self, decision: str = "approve", by: Principal = PARTNER) -> UUID:
        """The agent asks, and is answered; gives the task where one was made, else the approval."""
        approval_id = await self.asks()
        outcome = await self.done("approval_decide", {"approval_id": str(approval_id), "decision": decision}, by)
        call = cast(Json, cast(Json, outcome.result)["call"])
        made = call.get("result")
        return approval_id if made is None else UUID(cast(str, cast(Json, cast(Json, made)["task"])["task_id"]))

    async def cancels(self, task_id: UUID, by: Principal = HAND) -> None:
        await self.done("task_update", {"task_id": str(task_id), "status": "cancelled"}, by)

    async def reviewed(self) -> Json:
        """What is there sealed, and reviewed by the hub."""
        await seal(self.pools.service)
        return cast(Json, (await self.done("autonomy_review", {}, HUB)).result)

    async def records(self) -> tuple[dict[str, ToolRecord], Progress]:
        async with self.gate.transactions.session(ORGANIZATION, PARTNER.principal_id) as session:
            records, progress = await session.work.earned.records()
        return {record.tool: record for record in records}, progress

    async def proposals(self, who: PrincipalId = PARTNER.principal_id) -> Sequence[Proposal]:
        async with self.gate.transactions.session(ORGANIZATION, who) as session:
            return (await session.work.earned.proposals(ProposalQuery())).items

    async def decide(self, proposal_id: UUID, decision: str, by: Principal = PARTNER, **more: str) -> CallOutcome:
        asked = {"proposal_id": str(proposal_id), "decision": decision, **more}
        return await self.gate.call("autonomy_proposal_decide", asked, by)

    async def recount(self) -> Recount:
        """The ledger's export, read by what counts again."""
        async with self.gate.transactions.session(ORGANIZATION, PARTNER.principal_id) as session:
            head = await session.work.ledger.head()
        asked = {"size": 0 if head is None else head.statement.size, "payloads": True}
        opening = partial(self.gate.transactions.session, ORGANIZATION, PARTNER.principal_id)
        recount = Recount()
        async for some in exported(opening, ORGANIZATION, asked, utc_now()):
            for line in some.splitlines():
                recount.take(line)
        return recount


def manager() -> Principal:
    """The firm's MANAGER, by their own hand."""
    return Principal(
        organization_id=ORGANIZATION,
        principal_id=PrincipalId(FIRM_A.id(Role.MANAGER)),
        kind="person",
        mode="person",
        door="rest",
    )


def some_id() -> UUID:
    """Of nothing that there is."""
    return uuid4()
