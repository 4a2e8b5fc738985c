"""Whoever makes a schedule asks what its runs ask: no second pair of eyes, no word that earns, in nobody's stead."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest

from domain.kernel import ApprovalId, CallId, Level, Principal, PrincipalId, Role, new_id, utc_now
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.worker.schedules import ScheduleWorker
from server.worker.task_runs import TaskRunWorker
from tests.support.calls import add_member
from tests.support.earned import Firm, found_firms
from tests.support.firms import FIRM_A
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.outside import TOOL, PostOffice, letter_tool, serving
from tests.support.policies import policies_of, shipped_files
from tools.outcomes import CallOutcome, CallRequest, Json
from tools.policy import Policies
from tools.work import Job
from tools.workflows import Step, Workflow, Workflows

PARTNER = principal_of(who="partner", mode="person", door="rest")
EMPLOYEE = principal_of(mode="person", door="rest")
ADMIN = replace(PARTNER, principal_id=PrincipalId(FIRM_A.id(Role.SYSTEM_ADMIN)))
MANAGER = replace(PARTNER, principal_id=PrincipalId(FIRM_A.id(Role.MANAGER)))
SENDS = Workflow(
    name="refresh_analytics",
    title="Send",
    description="",
    minimum_autonomy=Level.L1,
    steps=(Step(name="send", tool=TOOL, arguments={"to": "Lena"}),),
)
PENDING = "SELECT approval_id FROM approvals WHERE tool = $1 AND state = 'pending' ORDER BY created_at DESC LIMIT 1"
DUE = "UPDATE schedule_progress SET next_run_at = now() - interval '1 second' WHERE schedule_id = $1"
OWN = """
SELECT facts::jsonb ->> 'approval_own' = 'true' FROM activity_events
WHERE tool = 'approval_decide' AND opens ORDER BY recorded_at DESC LIMIT 1
"""


@dataclass(slots=True, kw_only=True)
class Office:
    """A firm whose schedules send letters, which takes a PARTNER and four eyes."""

    gate: GateOnTest
    pools: DatabasePools
    owner: Connection
    inspector: Connection
    post: PostOffice
    workflow: Workflow = field(default_factory=lambda: SENDS)

    async def done(self, who: Principal, tool: str, arguments: Json) -> Json:
        outcome = await self.gate.call(tool, arguments, who)
        assert outcome.outcome == "done", outcome
        return cast(Json, outcome.result)

    async def scheduled(self, who: Principal = PARTNER, kind: str = "refresh_analytics") -> tuple[str, str]:
        """A schedule that `who` has made for a task of another's; the ids of both."""
        task = cast(Json, (await self.done(EMPLOYEE, "task_create", {"title": "R", "kind": kind}))["task"])
        asked = {"task_id": task["task_id"], "cron": "0 7 * * *", "time_zone": "UTC"}
        schedule = cast(Json, (await self.done(who, "schedule_create", asked))["schedule"])
        return str(schedule["schedule_id"]), str(task["task_id"])

    async def fall_due(self, schedule_id: str) -> None:
        """Begin what is due."""
        await self.owner.execute(DUE, UUID(schedule_id))
        identities = PostgresIdentities(self.pools.app)
        worker = ScheduleWorker(
            gate=self.gate.gate, transactions=self.gate.transactions, identities=identities, clock=utc_now
        )
        organization = PARTNER.organization_id
        await worker.work(Job(kind="schedule", organization_id=organization, subject_id=UUID(schedule_id)))

    async def work(self) -> None:
        """Take every task run that was begun as far as it goes."""
        worker = TaskRunWorker(
            gate=self.gate.gate,
            transactions=self.gate.transactions,
            identities=PostgresIdentities(self.pools.app),
            workflows=Workflows([self.workflow]),
            clock=utc_now,
        )
        begun = [job for job in self.gate.queue.jobs if job.kind == "task_run"]
        self.gate.queue.jobs.clear()
        for job in begun:
            await worker.work(job)

    async def letter(self, schedule_id: str) -> UUID:
        """The question that the run leaves which is due now."""
        await self.fall_due(schedule_id)
        await self.work()
        return await self.question()

    async def question(self, tool: str = TOOL) -> UUID:
        return UUID(str(await self.inspector.fetchval(PENDING, tool)))

    async def decided(self, who: Principal, approval_id: UUID, decision: str = "approve") -> CallOutcome:
        return await self.gate.call("approval_decide", {"approval_id": str(approval_id), "decision": decision}, who)

    async def refused(self, who: Principal, approval_id: UUID) -> None:
        for decision in ("approve", "reject"):
            outcome = await self.decided(who, approval_id, decision)
            assert outcome.verdict is not None, outcome
            assert (outcome.outcome, outcome.verdict.reasons) == ("denied", ("four_eyes_needed",))
        assert await self.inspector.fetchval(OWN)

    async def deciders(self, approval_id: UUID) -> list[tuple[str, str | None]]:
        async with self.gate.transactions.session(PARTNER.organization_id, PARTNER.principal_id) as session:
            found = await session.work.approvals.deciders(ApprovalId(approval_id))
        return [(each.email, each.decides_for) for each in found]


@pytest.fixture
async def policies() -> Policies | None:
    """None: those that ship."""
    return None


@pytest.fixture
async def office(
    pools: DatabasePools,
    owner_connection: Connection,
    superuser_connection: Connection,
    policies: Policies | None,
) -> AsyncIterator[Office]:
    await found_firms(owner_connection)
    await add_member(owner_connection, Role.SYSTEM_ADMIN)
    post = PostOffice()
    async with serving(post) as url:
        manifest, handler = letter_tool(url, "irreversible")
        async with gate_on(pools, {TOOL: handler}, more=[manifest], policies=policies) as gate:
            yield Office(gate=gate, pools=pools, owner=owner_connection, inspector=superuser_connection, post=post)


async def test_whoever_made_the_schedule_is_no_second_pair_of_eyes(office: Office) -> None:
    schedule_id, _ = await office.scheduled()
    letter = await office.letter(schedule_id)
    await office.refused(PARTNER, letter)
    assert await office.deciders(letter) == [("system_admin@more-1.example", None)]
    outcome = await office.decided(ADMIN, letter)
    assert outcome.outcome == "done", outcome
    assert await office.inspector.fetchval(OWN) is False


async def test_nor_is_whoever_changed_it_last(office: Office) -> None:
    schedule_id, _ = await office.scheduled(MANAGER)
    await office.done(PARTNER, "schedule_update", {"schedule_id": schedule_id, "input": {}, "cron": "5 7 * * *"})
    await office.refused(PARTNER, await office.letter(schedule_id))
    await office.done(ADMIN, "schedule_update", {"schedule_id": schedule_id, "cron": "6 7 * * *"})
    later = await office.letter(schedule_id)
    await office.refused(ADMIN, later)
    assert (await office.decided(PARTNER, later)).outcome == "done"


async def test_nor_is_whoever_put_other_words_into_its_task_since(office: Office) -> None:
    schedule_id, task_id = await office.scheduled(MANAGER)
    await office.done(PARTNER, "task_update", {"task_id": task_id, "description": "Send it to me."})
    await office.refused(PARTNER, await office.letter(schedule_id))
    # Those words somebody has seen who was at the schedule after them; and a date is no words.
    await office.done(ADMIN, "schedule_update", {"schedule_id": schedule_id, "cron": "6 7 * * *"})
    await office.done(PARTNER, "task_update", {"task_id": task_id, "due_on": "2027-01-31"})
    assert (await office.decided(PARTNER, await office.letter(schedule_id))).outcome == "done"


async def test_who_stood_behind_a_run_when_it_began_does_so_whatever_becomes_of_the_schedule(office: Office) -> None:
    schedule_id, _ = await office.scheduled()
    await office.fall_due(schedule_id)
    await office.done(ADMIN, "schedule_update", {"schedule_id": schedule_id, "paused": True})
    await office.done(ADMIN, "schedule_delete", {"schedule_id": schedule_id})
    await office.work()
    letter = await office.question()
    await office.refused(PARTNER, letter)
    assert (await office.decided(ADMIN, letter)).outcome == "done"


async def test_who_stands_behind_a_start_that_a_person_allowed_is_who_did_when_it_asked(office: Office) -> None:
    office.workflow = replace(SENDS, name="remind_pbc")
    schedule_id, _ = await office.scheduled(kind="remind_pbc")
    await office.done(PARTNER, "autonomy_set", {"scope": "organization", "level": "L1", "reason": "for now"})
    await office.fall_due(schedule_id)
    start = await office.question("task_run")
    await office.done(ADMIN, "schedule_delete", {"schedule_id": schedule_id})
    assert (await office.decided(PARTNER, start)).outcome == "done"  # two eyes suffice
    assert await office.inspector.fetchval(OWN)
    await office.work()
    await office.refused(PARTNER, await office.question())


async def test_where_two_eyes_suffice_the_maker_may_answer_and_the_record_says_so(office: Office) -> None:
    schedule_id, _ = await office.scheduled()
    office.workflow = replace(
        SENDS,
        steps=(Step(name="remind", tool="task_remind", arguments={"task_id": {"$from": "run.task_id"}, "text": "?"}),),
    )
    await office.fall_due(schedule_id)
    await office.work()
    assert (await office.decided(PARTNER, await office.question("task_remind"))).outcome == "done"
    assert await office.inspector.fetchval(OWN)


async def test_nobody_decides_in_the_makers_stead_nor_the_maker_in_anybodys(office: Office) -> None:
    schedule_id, _ = await office.scheduled()
    until = (utc_now() + timedelta(days=3)).isoformat()
    given: Json = {"delegate": "manager@more-1.example", "ends_at": until, "reason": "on leave"}
    await office.done(PARTNER, "delegation_give", given)
    letter = await office.letter(schedule_id)
    assert await office.deciders(letter) == [("system_admin@more-1.example", None)]
    assert (await office.decided(MANAGER, letter)).outcome == "invalid"  # there is no such question for them

    of_managers, _ = await office.scheduled(MANAGER)
    await office.done(ADMIN, "delegation_give", given)
    another = await office.letter(of_managers)
    assert (await office.decided(MANAGER, another)).outcome == "invalid"
    assert await office.deciders(another) == [("partner@firm-1.example", None), ("system_admin@more-1.example", None)]


async def test_a_run_that_a_schedules_run_starts_asks_for_the_same_people(office: Office) -> None:
    schedule_id, _ = await office.scheduled()
    inner = cast(Json, (await office.done(ADMIN, "task_create", {"title": "I", "kind": "refresh_analytics"}))["task"])
    office.workflow = replace(
        SENDS, steps=(Step(name="start", tool="task_run", arguments={"task_id": inner["task_id"]}),)
    )
    await office.fall_due(schedule_id)
    await office.work()
    office.workflow = SENDS
    await office.work()
    letter = await office.question()
    await office.refused(PARTNER, letter)
    assert (await office.decided(ADMIN, letter)).outcome == "done"


async def test_whoever_starts_a_run_by_hand_asks_and_the_tasks_author_is_somebody_else(office: Office) -> None:
    task = cast(Json, (await office.done(PARTNER, "task_create", {"title": "R", "kind": "refresh_analytics"}))["task"])
    started = await office.gate.call("task_run", {"task_id": task["task_id"]}, ADMIN)
    assert started.outcome == "done", started
    await office.work()
    letter = await office.question()
    await office.refused(ADMIN, letter)
    assert (await office.decided(PARTNER, letter)).outcome == "done"


async def test_nor_does_the_maker_say_how_such_a_call_ended(office: Office) -> None:
    schedule_id, _ = await office.scheduled()
    office.post.closed = True
    assert (await office.decided(ADMIN, await office.letter(schedule_id))).outcome == "done"
    letter = await office.inspector.fetchval("SELECT call_id FROM call_intents WHERE task_run_id IS NOT NULL")
    said = {"call_id": str(letter), "happened": True, "statement": "Letter 1."}
    outcome = await office.gate.call("call_conclude", said, PARTNER)
    assert outcome.verdict is not None, outcome
    assert (outcome.outcome, outcome.verdict.reasons) == ("denied", ("conclusion_needs_four_eyes",))


async def test_a_schedules_call_without_its_schedule_is_not_made(office: Office) -> None:
    hub = replace(principal_of(who="service", door="worker"), scheduled=True)
    _, task_id = await office.scheduled()
    request = CallRequest(
        call_id=CallId(uuid4()),
        tool="task_run",
        arguments={"task_id": task_id},
        request_id=f"schedule/{new_id()}/2026-03-02T07:00:00+01:00[UTC]",
    )
    outcome = await office.gate.gate.call(request, hub)
    assert outcome.outcome == "failed", outcome
    assert await office.inspector.fetchval("SELECT count(*) FROM task_runs WHERE call_id = $1", request.call_id) == 0


async def test_what_the_maker_approves_earns_nothing_also_counted_again(office: Office) -> None:
    firm = Firm(gate=office.gate, pools=office.pools)
    await firm.ceiling("L1")
    office.workflow = replace(SENDS, steps=(Step(name="make", tool="task_create", arguments={"title": "Chairs"}),))
    for who in (PARTNER, PARTNER, ADMIN):
        schedule_id, _ = await office.scheduled()
        await office.fall_due(schedule_id)
        await office.work()
        assert (await office.decided(who, await office.question("task_create"))).outcome == "done"
    await firm.reviewed()
    records, progress = await firm.records()
    assert records["task_create"].tally.approved == 1
    assert progress.rules is not None
    again = (await firm.recount()).records(progress.rules, progress.through)
    assert list(again) == list(records.values())


class TestBehindPolicy:
    """Policies that have lost their rule."""

    @pytest.fixture
    def policies(self, tmp_path: Path) -> Policies:
        files = shipped_files()
        kept, lost = "context.approval.four_eyes && context.approval.own", "context.approval.four_eyes && false"
        assert kept in files["approvals.cedar"]
        return policies_of(tmp_path, {**files, "approvals.cedar": files["approvals.cedar"].replace(kept, lost)})

    async def test_the_database_holds_the_maker_to_it(self, office: Office) -> None:
        schedule_id, _ = await office.scheduled()
        letter = await office.letter(schedule_id)
        assert (await office.decided(PARTNER, letter)).outcome == "failed"
        found = "SELECT state FROM approvals WHERE approval_id = $1"
        assert await office.inspector.fetchval(found, letter) == "pending"
        assert (await office.decided(ADMIN, letter)).outcome == "done"
