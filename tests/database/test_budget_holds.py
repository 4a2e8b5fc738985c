"""What a call holds of budgets: once and not lost, over midnight, kills, late comers and other settings meanwhile."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from domain.activity.model import ActivityEvent
from domain.activity.postgres import insert_events
from domain.budgets.model import Exhausted, Held, Measure, Payer, Wanted
from domain.budgets.postgres import PostgresBudgetReturns
from domain.kernel import CallId
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.hub import reservations_on
from tests.support.calls import event
from tests.support.firms import FIRM_A, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.outside import TOOL, PostOffice, letter_tool, serving
from tools.ports import Unavailable

PARTNER = principal_of(who="partner", mode="person", door="rest")
EMPLOYEE = principal_of(mode="person", door="rest")
AGENT = principal_of()
TASK = {"title": "Count the stock"}
PREPARE: Measure = "calls:prepare"
Really = dict[Measure, int | None]
MADE: Really = {PREPARE: 1}
NOT_MADE: Really = {}
NOBODY_KNOWS: Really = {PREPARE: None}
PAYER = Payer(organization_id=FIRM_A.organization_id, principal_id=FIRM_A.id("employee"), run_id=None)
USED = """
SELECT period < to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS before, used, reserved FROM budget_use
WHERE organization_id = $1 AND scope = 'organization' AND measure = 'calls:prepare'
"""
# One statement, at whose end the reservations' foreign key holds again.
A_DAY_ON = """
WITH moved AS (
    UPDATE budget_reservations SET period = (period::date - 1)::text WHERE measure = 'calls:prepare')
UPDATE budget_use SET period = (period::date - 1)::text WHERE measure = 'calls:prepare'
"""
EXPIRED = "UPDATE budget_reservations SET expires_at = now() - interval '1 second' WHERE state <> 'counted'"


@dataclass(slots=True, kw_only=True)
class Books:
    """The budget of calls that prepare, and whoever holds of it."""

    gate: GateOnTest
    pools: DatabasePools
    owner: Connection

    async def limit(self, most: int | None) -> None:
        asked = {
            "scope": "organization",
            "measure": "calls",
            "effect": "prepare",
            "limit": most,
            "reason": "To try it.",
        }
        outcome = await self.gate.call("budget_set", asked, PARTNER)
        assert outcome.outcome == "done", outcome

    async def reserve(self, call_id: UUID) -> Held | Exhausted | None:
        asked = Wanted(payer=PAYER, amounts={PREPARE: 1}, call_id=call_id, held_for=timedelta(minutes=5))
        return await reservations_on(self.pools).reserve(asked)

    async def holds(self, call_id: UUID) -> Held:
        held = await self.reserve(call_id)
        assert isinstance(held, Held), held
        return held

    async def settle(self, held: Held, really: Really) -> None:
        await reservations_on(self.pools).settle(held, really)

    async def record(self, call_id: UUID, kind: str = "tool.allowed", **changes: Any) -> None:
        """What the record has of the call."""
        outcome = None if kind == "tool.allowed" else kind.partition(".")[2]
        async with self.pools.recorder.acquire() as connection:
            await insert_events(connection, [_event(call_id, kind, outcome, **changes)])

    async def sweep(self) -> None:
        """The time of all that is held is over, and it is taken back."""
        await self.owner.execute(EXPIRED)
        await PostgresBudgetReturns(self.pools.service.acquire).take_back()

    async def midnight(self) -> None:
        """All that is there of the budget was begun the day before."""
        await self.owner.execute(A_DAY_ON)

    async def used(self, day: str = "today") -> tuple[int, int]:
        """What is used, and what is held."""
        rows = await self.owner.fetch(USED, FIRM_A.organization_id)
        return next(((row["used"], row["reserved"]) for row in rows if row["before"] == (day == "before")), (0, 0))


def _event(call_id: UUID, kind: str, outcome: str | None, **changes: Any) -> ActivityEvent:
    known = {"kind": kind, "tool": "task_create", "effect": "prepare", "call_id": CallId(call_id), "outcome": outcome}
    return event(**{**known, **changes})


@pytest.fixture
async def books(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[Books]:
    await seed_firms(owner_connection)
    async with gate_on(pools) as gate:
        opened = Books(gate=gate, pools=pools, owner=owner_connection)
        await opened.limit(3)
        yield opened


async def test_a_call_that_another_process_makes_again_after_a_kill_counts_once(books: Books) -> None:
    call_id = uuid4()
    await books.holds(call_id)  # and is killed before the call
    again = await books.holds(call_id)
    assert await books.used() == (0, 1)
    await books.record(call_id)
    await books.settle(again, MADE)
    assert await books.used() == (1, 0)
    await books.sweep()
    assert await books.used() == (1, 0)


async def test_a_call_that_is_settled_after_it_was_taken_back_counts_if_it_was_made(books: Books) -> None:
    late, never = uuid4(), uuid4()
    holding, idle = await books.holds(late), await books.holds(never)
    await books.sweep()
    assert await books.used() == (0, 0)
    await books.record(late)
    await books.settle(holding, MADE)
    await books.settle(idle, NOT_MADE)
    assert await books.used() == (1, 0)
    await books.settle(holding, MADE)
    assert await books.used() == (1, 0)


async def test_a_call_that_was_committed_after_it_was_taken_back_counts_though_its_process_died(books: Books) -> None:
    late, never = uuid4(), uuid4()
    await books.holds(late)
    await books.holds(never)
    await books.sweep()
    await books.record(late)
    await books.sweep()
    assert await books.used() == (1, 0)
    await books.sweep()
    assert await books.used() == (1, 0)
    assert await books.owner.fetchval("SELECT count(*) FROM budget_reservations WHERE call_id = $1", never) == 0


async def test_what_counted_when_it_was_taken_back_does_not_count_again_when_it_is_settled(books: Books) -> None:
    call_id = uuid4()
    held = await books.holds(call_id)
    await books.record(call_id)
    await books.sweep()
    assert await books.used() == (1, 0)
    await books.settle(held, MADE)
    assert await books.used() == (1, 0)


@pytest.mark.parametrize("first_is_killed", [True, False])
async def test_of_two_processes_that_make_the_same_call_one_counts(books: Books, first_is_killed: bool) -> None:
    call_id = uuid4()
    first, second = await books.holds(call_id), await books.holds(call_id)
    assert await books.used() == (0, 1)
    await books.record(call_id)  # by the first: the second finds it made
    await books.settle(second, NOT_MADE)
    assert await books.used() == (0, 1), "the first may be at it still"
    if first_is_killed:
        await books.sweep()
    else:
        await books.settle(first, MADE)
    assert await books.used() == (1, 0)
    await books.sweep()
    assert await books.used() == (1, 0)


async def test_where_the_database_went_away_in_the_midst_of_a_call_the_record_says_whether_it_counts(
    books: Books,
) -> None:
    made, committed_late, not_made = uuid4(), uuid4(), uuid4()
    for call_id in (made, committed_late, not_made):
        held = await books.holds(call_id)
        if call_id == made:
            await books.record(call_id)
        await books.settle(held, NOBODY_KNOWS)
    assert await books.used() == (1, 0)
    await books.record(committed_late)
    await books.sweep()
    await books.sweep()
    assert await books.used() == (2, 0)


async def test_a_call_whose_commit_was_not_heard_counts(
    pools: DatabasePools, books: Books, superuser_connection: Connection
) -> None:
    async def unheard(step: str) -> None:
        if step == "committed":
            raise Unavailable("the connection was lost as it was committed")

    async with gate_on(pools, fault=unheard) as gate:
        with pytest.raises(Unavailable):
            await gate.call("task_create", TASK, EMPLOYEE)
    made = "SELECT count(*) FROM tasks WHERE title = $1"
    assert await superuser_connection.fetchval(made, TASK["title"]) == 1
    assert await books.used() == (1, 0)


async def test_a_call_that_waited_and_was_cancelled_without_being_made_does_not_count(books: Books) -> None:
    """Its process was killed after it had asked."""
    waited, allowed, read = uuid4(), uuid4(), uuid4()
    for call_id in (waited, allowed, read):
        await books.holds(call_id)
    await books.record(waited, "tool.waiting")
    await books.record(waited, "tool.cancelled", opens=False)
    await books.record(allowed, "tool.waiting")
    await books.record(allowed, opens=False)
    await books.record(read, "tool.cancelled")
    await books.sweep()
    assert await books.used() == (2, 0)


async def test_what_was_begun_before_midnight_counts_on_that_day_whoever_settles_it(books: Books) -> None:
    settled, killed, again, taken_back = [uuid4() for _ in range(4)]
    await books.limit(10)
    held = await books.holds(settled)
    for call_id in (killed, again, taken_back):
        await books.holds(call_id)
    await books.midnight()
    day_before = await books.owner.fetchval("SELECT min(period) FROM budget_use WHERE measure = $1", PREPARE)
    await books.settle(replace(held, parts=held.parts.replace(_day_of(held), day_before)), MADE)
    assert await books.used("before") == (1, 3)

    # Whoever makes it again after midnight goes on with what is held, and takes nothing of the new day.
    anew = await books.holds(again)
    assert (await books.used("before"), await books.used()) == ((1, 3), (0, 0))
    for call_id in (killed, again):
        await books.record(call_id)
    await books.settle(anew, MADE)
    assert await books.used("before") == (2, 2)
    await books.sweep()
    assert (await books.used("before"), await books.used()) == ((3, 0), (0, 0))


def _day_of(held: Held) -> str:
    (part,) = orjson.loads(held.parts)
    return part["period"]


@pytest.mark.parametrize("change", [0, 1, None])
async def test_a_budget_that_is_lowered_or_lifted_meanwhile_neither_loses_nor_keeps_what_is_held(
    books: Books, change: int | None
) -> None:
    made, not_made = uuid4(), uuid4()
    first, second = await books.holds(made), await books.holds(not_made)
    await books.limit(change)
    assert isinstance(await books.reserve(uuid4()), type(None) if change is None else Exhausted)
    # A call that is held already may be gone on with.
    again = await books.reserve(not_made)
    assert isinstance(again, type(None) if change is None else Held)
    await books.record(made)
    await books.settle(first, MADE)
    await books.settle(second if not isinstance(again, Held) else again, NOT_MADE)
    await books.sweep()
    assert await books.used() == (1, 0)
    await books.limit(2)
    await books.holds(uuid4())
    assert isinstance(await books.reserve(uuid4()), Exhausted)


async def test_a_budget_that_is_set_while_a_call_is_under_way_begins_with_the_next(books: Books) -> None:
    await books.limit(None)
    assert await books.reserve(uuid4()) is None
    await books.limit(1)
    await books.holds(uuid4())
    assert await books.used() == (0, 1)


async def test_what_a_person_says_was_not_made_is_given_back_on_the_day_on_which_it_counted(
    pools: DatabasePools, books: Books
) -> None:
    """Held before midnight, made after it; and lifted and set again before anybody says so."""
    await books.limit(10)
    post = PostOffice(closed=True)
    async with serving(post) as url:
        manifest, handler = letter_tool(url)
        async with gate_on(pools, {TOOL: handler}, more=[manifest]) as gate:
            left = await gate.call(TOOL, {"to": "Lena"}, EMPLOYEE)
            assert (left.error and left.error.code) == "outcome_unknown"
            await books.midnight()
            assert (await gate.call("task_create", TASK, EMPLOYEE)).outcome == "done"
            assert (await books.used("before"), await books.used()) == ((1, 0), (1, 0))
            await books.limit(None)
            await books.limit(5)
            await books.owner.execute("UPDATE call_intents SET begun_at = begun_at - interval '5 minutes'")
            said = {"call_id": str(left.call_id), "happened": False, "statement": "They have nothing of it."}
            assert (await gate.call("call_conclude", said, PARTNER)).outcome == "done"
    assert (await books.used("before"), await books.used()) == ((0, 0), (1, 0))


@dataclass(slots=True, kw_only=True)
class Calls:
    """Calls that processes try to make, again and again, each of which the record takes once."""

    books: Books
    made: set[UUID] = field(default_factory=set[UUID])

    async def attempt(self, call_id: UUID, dice: random.Random) -> None:
        held = await self.books.reserve(call_id)
        if not isinstance(held, Held) or dice.random() < 0.25:
            return  # refused, or killed before the call
        made = False
        if call_id not in self.made and dice.random() < 0.8:
            self.made.add(call_id)
            await self.books.record(call_id)
            made = True
        if dice.random() < 0.3:
            return  # killed after it
        await self.books.settle(held, dice.choice((MADE, NOBODY_KNOWS)) if made else NOT_MADE)


@pytest.mark.parametrize("seed", range(4))
async def test_however_calls_are_tried_killed_and_swept_each_that_was_made_counts_once(books: Books, seed: int) -> None:
    await books.limit(12)
    dice, calls = random.Random(seed), Calls(books=books)
    ids = [uuid4() for _ in range(20)]
    for round_ in range(4):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(4):
                own = random.Random(dice.random())
                group.create_task(_several(calls, own.sample(ids, 6), own))
        used, held = await books.used()
        assert used + held <= 12, round_
        await books.sweep()
    for _ in range(3):
        await books.sweep()
    assert await books.used() == (len(calls.made), 0)


async def _several(calls: Calls, ids: list[UUID], dice: random.Random) -> None:
    for call_id in ids:
        await calls.attempt(call_id, dice)
