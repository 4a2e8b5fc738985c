"""Calls of which nobody can find out how they ended outside, closed by a person: once, by whom policy lets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from domain.idempotency.model import IdempotencyKey
from domain.kernel import CallId, Principal, new_id, utc_now
from domain.paging import page_request
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.exports import exported
from server.ledger import PostgresLedger
from server.worker.settling import SettleWorker
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.ledger import seal
from tests.support.outside import TOOL, PostOffice, letter_tool, serving
from tests.support.verifiers import Found, checked
from tools.outcomes import CallOutcome, Json
from tools.work import Job

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
STRANGER = principal_of(FIRM_B, "partner", mode="person", door="rest")
AGENT = principal_of(who="partner", door="rest")
KEY = IdempotencyKey(route="POST /v1/tools/letter_send/call", key="letter-2")
KINDS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY recorded_at, kind"
AGE = "UPDATE call_intents SET begun_at = begun_at - $1::interval"
PROMOTE = "UPDATE memberships SET role = $1 WHERE user_id = $2"
USED = "SELECT used, reserved FROM budget_use WHERE organization_id = $1 AND measure = 'calls:prepare'"
UNSEALED = """
DELETE FROM activity_payloads; DELETE FROM activity_events; DELETE FROM ledger_rotations; DELETE FROM ledger_heads;
DELETE FROM ledger_keys; DELETE FROM ledger_nodes; DELETE FROM ledger_leaves
"""
"""What the seed has of a ledger signs nothing."""


@dataclass(slots=True, kw_only=True)
class Desk:
    """A gate with a tool that sends letters at an office which answers nobody."""

    pools: DatabasePools
    gate: GateOnTest
    office: PostOffice
    owner: Connection
    inspector: Connection

    async def unknown(self, who: Principal = HAND, idempotency: IdempotencyKey | None = None) -> CallId:
        """A call of which nobody knows how it ended, made a while ago."""
        self.office.closed = True
        left = await self.gate.call(TOOL, {"to": "Lena"}, who, idempotency=idempotency)
        assert (left.error and left.error.code) == "outcome_unknown"
        await self.age()
        return left.call_id

    async def age(self, age: timedelta = timedelta(minutes=5)) -> None:
        await self.owner.execute(AGE, age)

    async def conclude(self, call_id: CallId, who: Principal = PARTNER, *, happened: bool = True) -> CallOutcome:
        said = {"call_id": str(call_id), "happened": happened, "statement": "Letter 4711, says its book."}
        return await self.gate.call("call_conclude", said, who)

    async def shown(self, call_id: CallId) -> Json:
        shown = await self.gate.call("call_get", {"call_id": str(call_id)}, PARTNER)
        assert shown.result is not None
        return shown.result

    async def kinds(self, call_id: CallId) -> list[str]:
        return [row["kind"] for row in await self.inspector.fetch(KINDS, call_id)]

    async def intents(self) -> int:
        return await self.inspector.fetchval("SELECT count(*) FROM call_intents WHERE tool = $1", TOOL)

    async def lowered(self) -> list[int]:
        """The ceilings that the tool was given from the record."""
        rows = await self.inspector.fetch("SELECT level FROM autonomy_settings WHERE subject = $1", TOOL)
        return [row["level"] for row in rows]

    async def settled(self, call_id: CallId) -> object:
        """What a worker finds that asks after it."""
        job = Job(kind="call_settle", organization_id=HAND.organization_id, subject_id=call_id)
        worker = SettleWorker(gate=self.gate.gate, identities=PostgresIdentities(self.pools.app), new_id=new_id)
        return await worker.work(job)


@pytest.fixture
async def office() -> AsyncIterator[tuple[PostOffice, str]]:
    opened = PostOffice()
    async with serving(opened) as url:
        yield opened, url


@pytest.fixture
async def desk(
    pools: DatabasePools,
    office: tuple[PostOffice, str],
    owner_connection: Connection,
    superuser_connection: Connection,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Desk]:
    """By a tool that prepares, or of another effect."""
    await seed_firms(owner_connection)
    await owner_connection.execute("DELETE FROM call_intents")
    manifest, handler = letter_tool(office[1], getattr(request, "param", "prepare"), timedelta(seconds=20))
    async with gate_on(pools, {TOOL: handler}, more=[manifest]) as gate:
        yield Desk(pools=pools, gate=gate, office=office[0], owner=owner_connection, inspector=superuser_connection)


IRREVERSIBLE = pytest.mark.parametrize("desk", ["irreversible"], indirect=True)


def refusal(ended: CallOutcome) -> tuple[str, object]:
    """How it was refused, and why."""
    if ended.outcome == "denied":
        assert ended.verdict is not None
        return ended.outcome, ended.verdict.reasons
    return ended.outcome, ended.error and ended.error.code


@pytest.mark.parametrize("happened", [True, False])
async def test_a_call_ends_as_a_person_says_and_nobody_asks_or_makes_it_any_more(desk: Desk, happened: bool) -> None:
    call_id = await desk.unknown(idempotency=KEY)
    said = await desk.conclude(call_id, happened=happened)
    ended = "done" if happened else "failed"
    assert said.outcome == "done", said
    assert cast(Json, (said.result or {})["call"]) == {
        "call_id": str(call_id),
        "tool": TOOL,
        "outcome": ended,
        "stated": "Letter 4711, says its book.",
    }
    shown = await desk.shown(call_id)
    told = {"stated": "Letter 4711, says its book.", "stated_in": str(said.call_id)}
    assert (shown["outcome"], shown["result"]) == (ended, told)
    assert shown.get("error_code") == (None if happened else "stated_not_made")
    assert await desk.kinds(call_id) == ["tool.allowed", "tool.completed" if happened else "tool.failed"]
    assert await desk.kinds(said.call_id) == ["tool.allowed", "tool.completed"]
    desk.office.closed, asked = False, desk.office.asked
    assert await desk.settled(call_id) is None
    assert (desk.office.asked, desk.office.brought, desk.office.sent) == (asked, 1, {})
    again = await desk.gate.call(TOOL, {"to": "Lena"}, HAND, idempotency=KEY)
    assert (again.call_id, again.outcome, again.result, again.replayed) == (call_id, ended, told, True)


async def test_who_takes_its_run_over_is_told_what_the_person_said(desk: Desk) -> None:
    for happened, told in ((True, ("done", None)), (False, ("failed", "stated_not_made"))):
        call_id = await desk.unknown()
        await desk.conclude(call_id, happened=happened)
        made = await PostgresLedger(desk.gate.transactions, desk.gate.gate.settle, utc_now).made(call_id, HAND)
        assert made is not None
        assert (made.outcome, made.error and made.error.code) == told
        assert cast(Json, made.result)["stated"] == "Letter 4711, says its book."


async def test_nobody_says_it_whom_policy_does_not_let_and_each_try_is_recorded(desk: Desk) -> None:
    call_id = await desk.unknown()
    client = principal_of(who="client", mode="person", door="rest")
    for who, outcome, reason in (
        (HAND, "denied", "conclusion_role_too_low"),
        (AGENT, "denied", "agent_may_not"),
        (client, "denied", "role_too_low"),
        (replace(PARTNER, door="slack"), "denied", "door_not_offered"),
        (STRANGER, "invalid", "open_call_not_found"),
    ):
        tried = await desk.conclude(call_id, who)
        how, why = refusal(tried)
        assert (how, reason in cast("str | tuple[str, ...]", why)) == (outcome, True), tried
        assert (await desk.kinds(tried.call_id)) == [f"tool.{outcome}"]
    assert refusal(await desk.conclude(CallId(uuid4()))) == ("invalid", "open_call_not_found")
    assert await desk.intents() == 1
    assert await desk.kinds(call_id) == ["tool.allowed"]


async def test_one_word_counts_and_none_on_a_call_that_has_ended_or_that_is_being_made(desk: Desk) -> None:
    call_id = await desk.unknown()
    said = await asyncio.gather(*(desk.conclude(call_id, happened=each % 2 == 0) for each in range(4)))
    assert sorted(refusal(each) for each in said if each.outcome != "done") == [("invalid", "call_has_ended")] * 3
    assert len(await desk.kinds(call_id)) == 2
    listed = await desk.gate.call("task_create", {"title": "Count"}, HAND)
    assert refusal(await desk.conclude(listed.call_id)) == ("invalid", "call_has_ended")
    left = await desk.gate.call(TOOL, {"to": "Lena"}, HAND)
    assert refusal(await desk.conclude(left.call_id)) == ("invalid", "call_under_way")
    assert await desk.kinds(left.call_id) == ["tool.allowed"]
    assert await desk.intents() == 1


@IRREVERSIBLE
async def test_what_was_approved_is_finished_and_not_by_whoever_asked(desk: Desk) -> None:
    await desk.owner.execute(PROMOTE, "PARTNER", HAND.principal_id)
    for happened, state in ((True, "executed"), (False, "failed")):
        desk.office.closed = True
        waiting = await desk.gate.call(TOOL, {"to": "Lena"}, HAND)
        assert waiting.approval is not None
        answer = {"approval_id": str(waiting.approval.approval_id), "decision": "approve"}
        assert (await desk.gate.call("approval_decide", answer, PARTNER)).outcome == "done"
        await desk.age()
        assert cast(Json, (await desk.shown(waiting.call_id))["approval"])["state"] == "executing"
        assert refusal(await desk.conclude(waiting.call_id, HAND)) == ("denied", ("conclusion_needs_four_eyes",))
        await desk.owner.execute(PROMOTE, "MANAGER", HAND.principal_id)
        other = refusal(await desk.conclude(waiting.call_id, HAND))
        assert other == ("denied", ("conclusion_needs_four_eyes", "conclusion_role_too_low"))
        await desk.owner.execute(PROMOTE, "PARTNER", HAND.principal_id)
        said = await desk.conclude(waiting.call_id, happened=happened)
        assert said.outcome == "done", said
        assert cast(Json, (said.result or {})["call"])["approval_id"] == answer["approval_id"]
        shown = await desk.shown(waiting.call_id)
        assert cast(Json, shown["approval"])["state"] == state
        assert shown["outcome"] == ("done" if happened else "failed")


async def test_what_was_not_made_is_given_back_to_budgets_and_what_was_made_counts(desk: Desk) -> None:
    budget = {"scope": "organization", "measure": "calls", "effect": "prepare", "limit": 10, "reason": "To try it."}
    before = await desk.unknown()  # no budget was set then
    assert (await desk.gate.call("budget_set", budget, PARTNER)).outcome == "done"
    of_hand = {**budget, "scope": "member", "member": f"employee@firm-{FIRM_A.n}.example"}
    assert (await desk.gate.call("budget_set", of_hand, PARTNER)).outcome == "done"
    await desk.conclude(before, happened=False)
    made, not_made, held = [await desk.unknown() for _ in range(3)]

    async def used() -> set[tuple[int, int]]:
        return {tuple(row) for row in await desk.inspector.fetch(USED, HAND.organization_id)}

    assert await used() == {(3, 0)}
    await desk.conclude(made, happened=True)
    assert await used() == {(3, 0)}
    await desk.conclude(not_made, happened=False)
    assert await used() == {(2, 0)}
    # As a process leaves it that is killed before it has settled what it held.
    await desk.owner.execute(
        "UPDATE budget_reservations SET state = 'held', expires_at = now() WHERE call_id = $1", held
    )
    await desk.owner.execute(
        "UPDATE budget_use SET used = used - 1, reserved = 1 WHERE organization_id = $1 AND measure = 'calls:prepare'",
        HAND.organization_id,
    )
    await desk.conclude(held, happened=False)
    assert await used() == {(1, 0)}


async def test_a_call_that_was_given_up_is_closed_by_a_person_too(desk: Desk) -> None:
    call_id = await desk.unknown()
    await desk.age(timedelta(hours=2))
    async with gate_on(desk.pools) as without:
        ended = await without.gate.settle(HAND, call_id)
        assert ended is not None
        assert (ended.error and ended.error.code) == "outcome_never_known"
    assert await desk.intents() == 0
    assert (await desk.conclude(call_id)).outcome == "done"
    assert (await desk.shown(call_id))["outcome"] == "done"
    assert await desk.kinds(call_id) == ["tool.allowed", "tool.failed", "tool.completed"]
    assert refusal(await desk.conclude(call_id, happened=False)) == ("invalid", "call_has_ended")


@pytest.mark.parametrize("way", ["concluded", "settled"])
async def test_calls_of_the_agents_that_turn_out_to_have_failed_take_its_autonomy_back_at_once(
    desk: Desk, way: str
) -> None:
    left = [await desk.unknown(AGENT) for _ in range(3)]
    assert await desk.lowered() == []
    if way == "concluded":
        for call_id in left:
            assert (await desk.conclude(call_id, happened=False)).outcome == "done"
    else:
        desk.office.closed = False
        for call_id in left:
            ended = await desk.gate.gate.settle(AGENT, call_id, ending=True)
            assert ended is not None
            assert (ended.error and ended.error.code) == "run_ended"
    assert await desk.lowered() == [1]
    assert (await desk.gate.call(TOOL, {"to": "Lena"}, AGENT)).outcome == "waiting"


async def test_what_the_outside_says_afterwards_counts_and_the_log_says_so(desk: Desk) -> None:
    reached, goes_on = asyncio.Event(), asyncio.Event()

    async def held(stage: str) -> None:
        if stage == "received":
            reached.set()
            await goes_on.wait()

    desk.office.turn, call_id = held, CallId(uuid4())
    sending = asyncio.create_task(desk.gate.call(TOOL, {"to": "Lena"}, HAND, call_id=call_id))
    async with asyncio.timeout(30):
        await reached.wait()
    await desk.age()
    assert (await desk.conclude(call_id, happened=False)).outcome == "done"
    goes_on.set()
    with capture_logs() as logs:
        assert (await sending).outcome == "done"
    assert [each["recorded"] for each in logs if each["event"] == "outside.made_after_all"] == ["stated_not_made"]
    assert (await desk.shown(call_id))["outcome"] == "done"


async def test_open_calls_are_listed_to_whoever_reads_the_record_and_to_who_made_them(desk: Desk) -> None:
    mine, others = await desk.unknown(), await desk.unknown(PARTNER)

    async def listed(who: Principal) -> list[CallId]:
        async with desk.gate.transactions.session(who.organization_id, who.principal_id) as session:
            return [each.call_id for each in (await session.work.open_calls.list(page_request())).items]

    assert await listed(PARTNER) == [others, mine]
    assert await listed(HAND) == [mine]
    assert await listed(STRANGER) == []
    await desk.conclude(mine)
    assert await listed(PARTNER) == [others]


@pytest.mark.parametrize("function", ["close_call", "uncount_call"])
async def test_the_database_closes_no_call_beside_the_tool(desk: Desk, function: str) -> None:
    call_id = await desk.unknown()
    async with desk.gate.transactions.session(
        PARTNER.organization_id, PARTNER.principal_id, read_only=False
    ) as session:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await session.connection.fetch(f"SELECT glow.{function}($1)", call_id)
    assert refused.value.sqlstate == "GL001"
    assert await desk.intents() == 1


async def test_the_record_verifies_with_what_a_person_said(desk: Desk, tmp_path: Path) -> None:
    await desk.owner.execute(UNSEALED)
    for happened in (True, False):
        await desk.conclude(await desk.unknown(), happened=happened)
    await seal(desk.pools.service)

    opening = partial(desk.gate.transactions.session, PARTNER.organization_id, PARTNER.principal_id)
    async with opening() as session:
        head = await session.work.ledger.head()
    assert head is not None
    asked = {"size": head.statement.size, "payloads": True}
    written = [some async for some in exported(opening, PARTNER.organization_id, asked, utc_now())]
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"".join(written))
    assert b"stated_not_made" in path.read_bytes()
    assert b"Letter 4711, says its book." in path.read_bytes()
    assert checked(path) == Found(None)
