"""Approvals on the real database: exactly one answer wins, an expired one none, and only those concerned see them."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import uuid4

import asyncpg
import pytest

from domain.activity.model import Payload
from domain.activity.postgres import insert_events
from domain.approvals.model import MAY_BECOME, Approval, ApprovalItem, ApprovalQuery, ApprovalState
from domain.approvals.postgres import PostgresApprovals
from domain.approvals.service import AlreadyDecided, ApprovalExpired, ApprovalNotFound, ApprovalService, NoLongerDeputy
from domain.kernel import ApprovalId, CallId, Level, OrganizationId, PrincipalId, Role
from server.database.connection import Connection, connected
from server.logins import Login
from tests.support.calls import NOW, acting, add_member, event, followed, later
from tests.support.database import Database
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms

DAY = timedelta(hours=24)


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    await seed_firms(owner_connection)
    return app_connection


def service(app: Connection) -> ApprovalService:
    return ApprovalService(PostgresApprovals(app))


def question(firm: Firm = FIRM_A, *, needs_role: Role = Role.EMPLOYEE, at: datetime = NOW) -> Approval:
    return Approval(
        organization_id=OrganizationId(firm.organization_id),
        approval_id=ApprovalId(uuid4()),
        call_id=CallId(uuid4()),
        tool="task_create",
        manifest_digest=b"m",
        policy_digest=b"p",
        arguments='{"title":"T"}',
        arguments_digest=b"a",
        reasons=("autonomy_needs_approval_prepare",),
        requested_by=PrincipalId(firm.id("employee")),
        requested_kind="person",
        requested_mode="agent",
        requested_door="chat",
        requested_scheduled=False,
        agent_ceiling=Level.L3,
        engagement_id=None,
        conversation_id=None,
        run_id=None,
        task_run_id=None,
        needs_role=needs_role,
        four_eyes=False,
        state="pending",
        created_at=at,
        expires_at=at + DAY,
    )


async def asked(app: Connection, approval: Approval) -> Approval:
    waiting = event(kind="tool.waiting", call_id=approval.call_id, approval_id=approval.approval_id, outcome="waiting")
    async with acting(app, "employee"):
        await insert_events(app, [waiting])
        await service(app).ask(approval)
    return approval


async def listed(
    app: Connection, state: ApprovalState | None, who: str = "partner", at: datetime = NOW
) -> list[Approval]:
    async with acting(app, who):
        page = await service(app).list(ApprovalQuery(state=state), at)
    return [item.approval for item in page.items if item.approval.created_at < later(3600)]


async def decided(
    app: Connection, approval: Approval, answer: Literal["approve", "reject"] = "approve", at: datetime = NOW
) -> Approval:
    async with acting(app, "partner", "approvals"):
        return await service(app).decide(
            approval.approval_id, answer, "because", decider=PrincipalId(FIRM_A.id("partner")), now=at
        )


async def begun(app: Connection, approval: Approval) -> None:
    async with acting(app, "partner", "approvals"):
        await service(app).begin(approval.approval_id)


async def finished(app: Connection, approval: Approval, *, executed: bool) -> ApprovalItem:
    async with acting(app, "partner", "approvals"):
        return await service(app).finish(approval.approval_id, executed=executed)


async def test_a_question_reads_back_as_it_was_asked(app: Connection) -> None:
    approval = await asked(app, question())
    async with acting(app, "partner"):
        item = await service(app).get(approval.approval_id, NOW)
    assert item == ApprovalItem(approval=approval, requested_by="employee@firm-1.example", decided_by=None)


async def test_a_question_without_its_waiting_event_is_refused_by_the_database(app: Connection) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with acting(app, "employee"):
            await service(app).ask(question())
    assert refused.value.sqlstate == "GL001"


@pytest.mark.parametrize(("executed", "state"), [(True, "executed"), (False, "failed")])
async def test_an_approved_call_is_executing_until_it_is_said_what_became_of_it(
    app: Connection, executed: bool, state: ApprovalState
) -> None:
    approval = await asked(app, question())
    taken = await decided(app, approval, at=later(5))
    assert (taken.state, taken.decided_by, taken.decided_at, taken.comment) == (
        "approved",
        FIRM_A.id("partner"),
        later(5),
        "because",
    )
    await begun(app, approval)
    assert [found.state for found in await listed(app, "executing")] == ["executing"]
    item = await finished(app, approval, executed=executed)
    assert (item.approval.state, item.decided_by) == (state, "partner@firm-1.example")


async def test_a_rejected_call_keeps_the_comment_for_whoever_asked(app: Connection) -> None:
    approval = await asked(app, question())
    await decided(app, approval, "reject")
    async with acting(app, "employee"):
        item = await service(app).get(approval.approval_id, NOW)
    assert (item.approval.state, item.approval.comment) == ("rejected", "because")


@pytest.mark.parametrize("second", ["approve", "reject"])
async def test_a_second_answer_is_refused_and_says_how_it_was_decided(
    app: Connection, second: Literal["approve", "reject"]
) -> None:
    approval = await asked(app, question())
    await decided(app, approval, "reject")
    with pytest.raises(AlreadyDecided, match="rejected") as refused:
        await decided(app, approval, second)
    assert refused.value.state == "rejected"


async def test_of_two_answers_at_the_same_time_exactly_one_wins(app: Connection, database: Database) -> None:
    approval = await asked(app, question())

    async def answer(connection: Connection) -> str:
        try:
            return (await decided(connection, approval)).state
        except AlreadyDecided as refused:
            return refused.code

    async with connected(database.dsn(Login.APP)) as other:
        async with acting(app, "partner", "approvals"):
            first = await service(app).decide(
                approval.approval_id, "approve", None, decider=PrincipalId(FIRM_A.id("partner")), now=NOW
            )
            waits = asyncio.create_task(answer(other))
            await _until_blocked(database)
            await service(app).begin(approval.approval_id)
            await service(app).finish(approval.approval_id, executed=True)
        assert first.state == "approved"
        assert await waits == "already_decided"


async def _until_blocked(database: Database) -> None:
    async with connected(database.dsn("postgres")) as watcher:
        async with asyncio.timeout(20):
            while not await watcher.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock')",
                database.name,
            ):
                continue


async def test_an_expired_question_is_refused_and_shown_as_expired(app: Connection) -> None:
    approval = await asked(app, question())
    at = NOW + DAY
    with pytest.raises(ApprovalExpired) as refused:
        await decided(app, approval, at=at)
    assert refused.value.expired_at == approval.expires_at
    assert [found.state for found in await listed(app, "expired", at=at)] == ["expired"]
    assert await listed(app, "pending", at=at) == []
    assert [found.state for found in await listed(app, "pending", at=at - timedelta(seconds=1))] == ["pending"]


async def test_a_question_that_was_executed_cannot_be_finished_again(app: Connection) -> None:
    approval = await asked(app, question())
    await decided(app, approval)
    await begun(app, approval)
    await finished(app, approval, executed=True)
    with pytest.raises(AlreadyDecided):
        await finished(app, approval, executed=False)
    with pytest.raises(AlreadyDecided, match="executed"):
        await begun(app, approval)


async def test_an_approved_call_that_is_refused_fails_and_is_not_executed_unbegun(app: Connection) -> None:
    approval = await asked(app, question())
    with pytest.raises(AlreadyDecided, match="pending"):
        await begun(app, approval)
    await decided(app, approval)
    with pytest.raises(AlreadyDecided, match="approved"):
        await finished(app, approval, executed=True)
    assert (await finished(app, approval, executed=False)).approval.state == "failed"


ROUTES: dict[ApprovalState, tuple[ApprovalState, ...]] = {
    "pending": (),
    "approved": ("approved",),
    "executing": ("approved", "executing"),
    "executed": ("approved", "executing", "executed"),
    "failed": ("approved", "executing", "failed"),
    "rejected": ("rejected",),
    "expired": ("expired",),
    "cancelled": ("cancelled",),
}
"""How a question comes to each state."""
OF_THE_VERSION_BEFORE: frozenset[ApprovalState] = frozenset({"executing"})
MOVE = "UPDATE approvals SET state = $2, decided_at = coalesce(decided_at, now()) WHERE approval_id = $1"


async def test_the_database_lets_a_question_come_from_each_state_to_those_that_follow_and_to_no_other(
    app: Connection,
) -> None:
    possible = {was: await _follow(app, route) for was, route in ROUTES.items()}
    assert possible == {**MAY_BECOME, "pending": MAY_BECOME["pending"] | OF_THE_VERSION_BEFORE}


async def _follow(app: Connection, route: tuple[ApprovalState, ...]) -> frozenset[ApprovalState]:
    """The states that a question which has come this way can come to next."""
    approval = await asked(app, question())
    for state in route:
        async with acting(app, "partner", "approvals"):
            await app.execute(MOVE, approval.approval_id, state)
    here = route[-1] if route else "pending"
    return frozenset([each for each in ROUTES if each != here and await _moves(app, approval, each)])


async def _moves(app: Connection, approval: Approval, state: ApprovalState) -> bool:
    """Whether the database takes it; it is taken back."""
    refused: asyncpg.PostgresError | None = None
    try:
        async with acting(app, "partner", "approvals"):
            await app.execute(MOVE, approval.approval_id, state)
            raise InterruptedError
    except InterruptedError:
        return True
    except asyncpg.PostgresError as fault:
        refused = fault
    return refused.sqlstate != "GL002"


@pytest.mark.parametrize("change", ["decided_by = requested_by", "decided_at = now()", "comment = 'otherwise'"])
async def test_what_was_decided_stays_as_it_was_said(app: Connection, change: str) -> None:
    approval = await asked(app, question())
    await decided(app, approval)
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with acting(app, "partner", "approvals"):
            await app.execute(f"UPDATE approvals SET {change} WHERE approval_id = $1", approval.approval_id)
    assert refused.value.sqlstate == "GL002"


async def test_deciding_takes_a_ticket(app: Connection) -> None:
    approval = await asked(app, question())
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with acting(app, "partner"):
            await service(app).decide(
                approval.approval_id, "approve", None, decider=PrincipalId(FIRM_A.id("partner")), now=NOW
            )
    assert refused.value.sqlstate == "GL001"


@pytest.mark.parametrize(
    ("needs", "who", "sees"),
    [
        (Role.EMPLOYEE, "employee", True),
        (Role.PARTNER, "employee", True),  # asked for it
        (Role.PARTNER, "partner", True),
        (Role.PARTNER, "MANAGER", False),
        (Role.MANAGER, "MANAGER", True),
        (Role.EMPLOYEE, "READONLY", False),
        (Role.EMPLOYEE, "client", False),
        (Role.EMPLOYEE, "EQR", False),
    ],
)
async def test_one_sees_what_one_asked_for_or_may_decide(
    app: Connection, owner_connection: Connection, needs: Role, who: str, sees: bool
) -> None:
    for role in (Role.MANAGER, Role.READONLY, Role.EQR):
        await add_member(owner_connection, role)
    approval = await asked(app, question(needs_role=needs))
    assert (approval in await listed(app, None, who)) == sees


async def test_another_organizations_question_is_none_at_all(app: Connection) -> None:
    foreign = replace(question(), approval_id=ApprovalId(FIRM_B.id("thing")))
    with pytest.raises(ApprovalNotFound):
        await decided(app, foreign)


async def test_pages_of_questions_meet(app: Connection) -> None:
    for n in range(3):
        await asked(app, question(at=later(n)))
    async with acting(app, "employee"):
        page = await service(app).list(ApprovalQuery(requested_by=PrincipalId(FIRM_A.id("partner"))), NOW)
    assert page.items == ()
    assert [found.created_at for found in await listed(app, "pending")] == [later(2), later(1), later(0)]


async def made(owner: Connection, who: str, arguments: str, *, at: datetime, tool: str = "task_create") -> CallId:
    """A call that somebody made, as the record has it."""
    opening = event(
        kind="tool.allowed",
        tool=tool,
        effect="prepare",
        principal_id=PrincipalId(FIRM_A.id(who)),
        occurred_at=at,
        outcome=None,
        payload=Payload(salt=b"s", arguments=arguments, result=None),
    )
    await insert_events(owner, [opening, followed(opening, kind="tool.completed", outcome="done", occurred_at=at)])
    return opening.call_id


@pytest.mark.parametrize(
    ("made_by", "viewer", "found"),
    [
        (("employee", "partner"), "partner", "employee"),  # the requester's, though another's is newer
        (("partner",), "partner", "partner"),
        (("employee", "partner"), "employee", "employee"),
        (("partner",), "employee", None),  # reads only what is its own
        ((), "partner", None),
    ],
)
async def test_a_question_is_compared_with_the_requesters_last_like_call_or_with_the_organizations(
    app: Connection, owner_connection: Connection, made_by: tuple[str, ...], viewer: str, found: str | None
) -> None:
    calls = {who: await made(owner_connection, who, '{"title":"Last"}', at=later(n)) for n, who in enumerate(made_by)}
    await made(owner_connection, "employee", "{}", at=later(3), tool="task_run")
    approval = await asked(app, question(at=later(10)))
    await made(owner_connection, "employee", '{"title":"Afterwards"}', at=later(20))
    async with acting(app, viewer):
        told = await service(app).comparison(approval)
    assert (None if told.last is None else told.last.call_id) == (None if found is None else calls[found])
    assert [(row.argument, row.change) for row in told.rows] == [("title", None if found is None else "changed")]


async def test_a_deputy_whose_time_ended_meanwhile_decides_nothing(app: Connection) -> None:
    approval = await asked(app, question(needs_role=Role.PARTNER))
    with pytest.raises(NoLongerDeputy):
        async with acting(app, "employee", "approvals"):
            await service(app).decide(
                approval.approval_id, "approve", None, decider=PrincipalId(FIRM_A.id("employee")), now=NOW
            )
