"""Budgets: never overspent, however many come at once; what did not happen is given back, also after a crash."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from domain.analytics.model import Price
from domain.budgets.model import Exhausted, Held, Measure, Payer, Wanted
from domain.budgets.postgres import PostgresBudgetReturns, PostgresReservations
from domain.kernel import CallId, Principal, RunId, TaskRunId, utc_now
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.hub import reservations_on
from tests.support.fake_embeddings import FakeEmbedder
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.outcomes import CallOutcome, CallRequest
from tools.ports import Unavailable

PARTNER = principal_of(who="partner", mode="person", door="rest")
EMPLOYEE = principal_of(mode="person", door="rest")
AGENT = principal_of()
TASK = {"title": "Count the stock"}
Json = dict[str, Any]
STATE = "SELECT used, reserved FROM budget_use WHERE organization_id = $1 AND scope = $2 AND measure = $3"


@pytest.fixture
async def seeded(owner_connection: Connection) -> None:
    await seed_firms(owner_connection)


@pytest.fixture
async def gate(pools: DatabasePools, seeded: None) -> AsyncIterator[GateOnTest]:
    async with gate_on(pools) as opened:
        yield opened


async def set_budget(gate: GateOnTest, **asked: object) -> Json:
    asked = {"scope": "organization", "reason": "To try it.", **asked}
    outcome = await gate.call("budget_set", asked, PARTNER)
    assert outcome.outcome == "done", outcome
    return cast(Json, outcome.result)["setting"]


async def patiently(gate: GateOnTest, tool: str, arguments: Json, who: Principal) -> CallOutcome:
    """A call that is made again where the database was too busy for it."""
    while True:
        with suppress(Unavailable):
            return await gate.call(tool, arguments, who)


async def left(gate: GateOnTest) -> list[Json]:
    outcome = await gate.call("budget_query", {}, PARTNER)
    assert outcome.outcome == "done", outcome
    return cast(Json, outcome.result)["items"]


async def used(connection: Connection, measure: str, scope: str = "organization") -> tuple[int, int]:
    row = await connection.fetchrow(STATE, FIRM_A.organization_id, scope, measure)
    return (0, 0) if row is None else (row["used"], row["reserved"])


async def test_of_200_calls_at_once_against_a_budget_for_10_just_10_pass(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    await set_budget(gate, measure="calls", effect="prepare", limit=10)
    outcomes = await asyncio.gather(*(patiently(gate, "task_create", TASK, AGENT) for _ in range(200)))
    assert sum(outcome.outcome == "done" for outcome in outcomes) == 10
    refused = [outcome for outcome in outcomes if outcome.outcome != "done"]
    assert {outcome.outcome for outcome in refused} == {"denied"}
    assert all(outcome.verdict is not None and outcome.verdict.reasons == ("budget_exhausted",) for outcome in refused)
    rows = await superuser_connection.fetch(
        "SELECT outcome, count(*) AS calls FROM activity_events WHERE tool = 'task_create' AND outcome IS NOT NULL "
        "AND organization_id = $1 AND occurred_at > now() - interval '1 hour' GROUP BY outcome",
        FIRM_A.organization_id,
    )
    assert {row["outcome"]: row["calls"] for row in rows} == {"done": 10, "denied": 190}
    assert await superuser_connection.fetchval("SELECT count(*) FROM tasks WHERE title = $1", TASK["title"]) == 10
    assert await used(superuser_connection, "calls:prepare") == (10, 0)


async def test_a_refusal_says_which_budget_how_much_is_left_and_when_it_renews(gate: GateOnTest) -> None:
    await set_budget(gate, measure="calls", effect="prepare", limit=0)
    refused = await gate.call("task_create", TASK, EMPLOYEE)
    assert refused.error is not None
    today = utc_now().date()
    assert refused.error.message == (
        "Policy forbids this call: budget_exhausted. The organization's budget of 0 prepare calls a day is used up: "
        f"0 left; it renews at {today + timedelta(days=1)}T00:00:00Z."
    )
    await set_budget(gate, measure="calls", effect="prepare", limit=None)
    assert (await gate.call("task_create", TASK, EMPLOYEE)).outcome == "done"
    assert all(item["measure"] != "calls" or item["effect"] != "prepare" for item in await left(gate))


async def test_what_did_not_happen_is_given_back(gate: GateOnTest, superuser_connection: Connection) -> None:
    await set_budget(gate, measure="calls", effect="prepare", limit=100)

    async def counted(outcome: CallOutcome, ended: str) -> int:
        assert outcome.outcome == ended, outcome
        now = await used(superuser_connection, "calls:prepare")
        assert now[1] == 0
        return now[0]

    reader = principal_of(who="client", mode="person", door="rest")
    assert await counted(await gate.call("task_create", TASK, EMPLOYEE), "done") == 1
    assert await counted(await gate.call("task_create", TASK, reader), "denied") == 1
    assert await counted(await gate.call("task_create", {"title": "T", "kind": "no_such"}, EMPLOYEE), "invalid") == 1
    assert await counted(await gate.call("task_create", {"no": "title"}, EMPLOYEE), "invalid") == 1
    assert await counted(await gate.call("task_create", TASK, EMPLOYEE, dry_run=True), "dry_run") == 1
    low = {"scope": "organization", "level": "L1", "reason": "Ask."}
    assert (await gate.call("autonomy_set", low, PARTNER)).outcome == "done"
    waiting = await gate.call("task_create", TASK, AGENT)
    assert await counted(waiting, "waiting") == 1

    # Once it is approved it is made, and counts.
    assert waiting.approval is not None
    answer = {"approval_id": str(waiting.approval.approval_id), "decision": "approve"}
    assert await counted(await gate.call("approval_decide", answer, PARTNER), "done") == 2

    # What was approved while there was room for it is refused where there is none any more.
    waiting = await gate.call("task_create", TASK, AGENT)
    assert waiting.approval is not None
    await set_budget(gate, measure="calls", effect="prepare", limit=2)
    answer = {"approval_id": str(waiting.approval.approval_id), "decision": "approve"}
    decided = await gate.call("approval_decide", answer, PARTNER)
    made = cast(Json, cast(Json, decided.result)["call"])
    assert (decided.outcome, made["outcome"]) == ("done", "denied")
    assert await counted(decided, "done") == 2


async def test_what_could_never_pass_takes_nobodys_place(gate: GateOnTest, superuser_connection: Connection) -> None:
    low = {"scope": "organization", "level": "L1", "reason": "Ask."}
    assert (await gate.call("autonomy_set", low, PARTNER)).outcome == "done"
    await set_budget(gate, measure="calls", effect="prepare", limit=1)
    await superuser_connection.execute(NEVER_HELD)
    client = principal_of(who="client", mode="person", door="rest")
    nowhere = {"task_id": str(uuid4()), "due_on": "2027-01-01"}
    assert (await gate.call("task_create", TASK, client)).outcome == "denied"
    assert (await gate.call("task_create", TASK, AGENT)).outcome == "waiting"
    assert (await gate.call("task_update", nowhere, EMPLOYEE)).outcome == "invalid"
    assert (await gate.call("task_create", TASK, EMPLOYEE, dry_run=True)).outcome == "dry_run"
    await superuser_connection.execute("DROP TRIGGER never_held ON budget_reservations")
    assert (await gate.call("task_create", TASK, EMPLOYEE)).outcome == "done"
    # And what waits is not asked about where there is no room for it.
    refused = await gate.call("task_create", TASK, AGENT)
    assert refused.error is not None
    assert (refused.outcome, "0 left" in refused.error.message) == ("denied", True)


NEVER_HELD = """
CREATE FUNCTION public.never_held() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''somebody holds a budget who makes no call''; END';
CREATE TRIGGER never_held BEFORE INSERT ON budget_reservations FOR EACH ROW EXECUTE FUNCTION public.never_held();
"""


async def test_a_flood_of_calls_that_are_refused_keeps_nobody_from_a_budget(
    gate: GateOnTest, superuser_connection: Connection
) -> None:
    await set_budget(gate, measure="calls", effect="prepare", limit=5)
    client = principal_of(who="client", mode="person", door="rest")
    flood = [patiently(gate, "task_create", TASK, client) for _ in range(60)]
    rightful = [patiently(gate, "task_create", TASK, EMPLOYEE) for _ in range(5)]
    calls = [*flood[:30], *rightful, *flood[30:]]
    outcomes = [outcome.outcome for outcome in await asyncio.gather(*calls)]
    assert outcomes[30:35] == ["done"] * 5
    assert set(outcomes[:30] + outcomes[35:]) == {"denied"}
    assert await used(superuser_connection, "calls:prepare") == (5, 0)


async def test_where_only_a_budget_refuses_what_a_process_that_is_gone_held_is_taken_back_first(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection
) -> None:
    await set_budget(gate, measure="calls", effect="prepare", limit=1)
    wanted = Wanted(payer=PAYER, amounts={"calls:prepare": 1}, call_id=uuid4(), held_for=timedelta(0))
    assert isinstance(await reservations(pools).reserve(wanted), Held)
    assert await used(superuser_connection, "calls:prepare") == (0, 1)
    assert (await gate.call("task_create", TASK, EMPLOYEE)).outcome == "done"
    assert await used(superuser_connection, "calls:prepare") == (1, 0)


@pytest.mark.parametrize("waits", [False, True])
async def test_who_makes_a_call_again_is_not_refused_for_what_is_held_for_it(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection, waits: bool
) -> None:
    """Whoever was at it was killed; its time is not over, so that nothing is taken back yet."""
    if waits:
        low = {"scope": "organization", "level": "L1", "reason": "Ask."}
        assert (await gate.call("autonomy_set", low, PARTNER)).outcome == "done"
    await set_budget(gate, measure="calls", effect="prepare", limit=1)
    call_id = CallId(uuid4())
    payer = replace(PAYER, run_id=None)
    wanted = Wanted(payer=payer, amounts={"calls:prepare": 1}, call_id=call_id, held_for=timedelta(minutes=1))
    assert isinstance(await reservations(pools).reserve(wanted), Held)
    again = await gate.call("task_create", TASK, AGENT, call_id=call_id)
    assert again.outcome == ("waiting" if waits else "done")
    assert await used(superuser_connection, "calls:prepare") == ((0, 1) if waits else (1, 0))


async def test_the_steps_of_a_task_run_share_its_budget(gate: GateOnTest, superuser_connection: Connection) -> None:
    await set_budget(gate, scope="run", measure="calls", effect="prepare", limit=2)
    made = await gate.call("task_create", {"title": "T", "kind": "refresh_analytics"}, EMPLOYEE)
    task_id = cast(Json, made.result)["task"]["task_id"]

    async def begun() -> TaskRunId:
        run = await gate.call("task_run", {"task_id": task_id}, EMPLOYEE)
        return TaskRunId(UUID(cast(Json, run.result)["task_run"]["task_run_id"]))

    async def step(task_run_id: TaskRunId) -> CallOutcome:
        request = CallRequest(call_id=CallId(uuid4()), tool="task_create", arguments=TASK, task_run_id=task_run_id)
        return await gate.gate.call(request, principal_of(door="worker"))

    one, other = await begun(), await begun()
    assert [(await step(one)).outcome for _ in range(3)] == ["done", "done", "denied"]
    refused = await step(one)
    assert refused.error is not None
    assert "This run's budget of 2 prepare calls is used up" in refused.error.message
    assert (await step(other)).outcome == "done"
    assert await used(superuser_connection, "calls:prepare", "run") in ((2, 0), (1, 0))


async def test_the_attempts_of_an_objective_are_charged_as_one_run(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection
) -> None:
    await set_budget(gate, scope="run", measure="calls", effect="prepare", limit=2)
    await set_budget(gate, scope="run", measure="tokens", limit=100)
    made = await gate.call("task_create", {"title": "T", "kind": "objective"}, EMPLOYEE)
    run = await gate.call("task_run", {"task_id": cast(Json, made.result)["task"]["task_id"]}, EMPLOYEE)
    task_run_id = UUID(cast(Json, run.result)["task_run"]["task_run_id"])
    attempts = [uuid4(), uuid4(), uuid4()]
    for attempt in attempts:
        await superuser_connection.execute(ATTEMPT, FIRM_A.organization_id, attempt, FIRM_A.id("employee"), task_run_id)

    async def called(run_id: UUID) -> str:
        request = CallRequest(call_id=CallId(uuid4()), tool="task_create", arguments=TASK, run_id=RunId(run_id))
        return (await gate.gate.call(request, AGENT)).outcome

    assert [await called(attempt) for attempt in attempts] == ["done", "done", "denied"]
    held: list[object] = []
    for attempt in attempts:
        payer = replace(PAYER, run_id=attempt)
        wanted = Wanted(payer=payer, amounts={"tokens": 60}, held_for=timedelta(minutes=1))
        held.append(type(await reservations(pools).reserve(wanted)))
    assert held == [Held, Exhausted, Exhausted]
    # Who takes an attempt over has back what the one before held for its model.
    await reservations(pools).taken_over(replace(PAYER, run_id=attempts[1]))
    assert await used(superuser_connection, "tokens", "run") == (0, 0)


ATTEMPT = """
WITH talk AS (
    INSERT INTO conversations (organization_id, conversation_id, owner_id, agent, title, created_at, updated_at)
    VALUES ($1, $2, $3, 'assistant', 'T', now(), now()))
INSERT INTO runs (organization_id, run_id, conversation_id, owner_id, agent, model, door, status, heartbeat_at,
    created_at, task_run_id)
VALUES ($1, $2, $2, $3, 'assistant', 'offline', 'worker', 'completed', now(), now(), $4)
"""


async def test_budgets_bind_each_other_and_a_persons_own_hand_sets_them_whatever_is_used_up(gate: GateOnTest) -> None:
    await set_budget(gate, measure="calls", effect="read", limit=100)
    await set_budget(gate, scope="member", member="employee@firm-1.example", measure="calls", effect="read", limit=1)
    assert (await gate.call("task_list", {}, EMPLOYEE)).outcome == "done"
    refused = await gate.call("task_list", {}, EMPLOYEE)
    assert refused.error is not None
    assert "Your own budget of 1 read calls a day" in refused.error.message
    assert (await gate.call("task_list", {}, PARTNER)).outcome == "done"
    organization, member = await left(gate)
    assert (organization["scope"], organization["used"], organization["left"]) == ("organization", 2, 97)
    assert (member["member"], member["used"], member["left"], member["per"]) == ("employee@firm-1.example", 1, 0, "day")

    for effect in ("read", "prepare", "commit"):
        await set_budget(gate, measure="calls", effect=effect, limit=0)
    setting = await set_budget(gate, measure="calls", effect="commit", limit=5)
    assert (setting["limit"], setting["changed_by"]) == (5, "partner@firm-1.example")


async def test_what_a_budget_would_refuse_is_foreseen(gate: GateOnTest) -> None:
    await set_budget(gate, measure="calls", effect="prepare", limit=0)
    for asked in ({"tool": "task_create"}, {"tool": "task_create", "explain": True}):
        outcome = await gate.call("autonomy_query", asked, AGENT)
        told = cast(Json, cast(Json, outcome.result)["tool"])
        assert (told["decision"], told["reasons"]) == ("deny", ["budget_exhausted"])


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"measure": "calls", "limit": 1}, "budget_does_not_fit"),
        ({"measure": "tokens", "effect": "read", "limit": 1}, "budget_does_not_fit"),
        ({"measure": "tokens", "limit": 1.5}, "budget_does_not_fit"),
        ({"measure": "money", "limit": 0.0000001}, "budget_does_not_fit"),
        ({"scope": "member", "measure": "tokens", "limit": 1}, "budget_does_not_fit"),
        ({"member": "employee@firm-1.example", "measure": "tokens", "limit": 1}, "budget_does_not_fit"),
        ({"scope": "member", "member": "employee@firm-2.example", "measure": "tokens", "limit": 1}, "member_not_found"),
        ({"measure": "tokens", "limit": -1}, "invalid_arguments"),
    ],
)
async def test_what_makes_no_budget_is_refused(gate: GateOnTest, asked: Json, code: str) -> None:
    outcome = await gate.call("budget_set", {"scope": "organization", "reason": "R", **asked}, PARTNER)
    assert (outcome.outcome, outcome.error and outcome.error.code) == ("invalid", code)


async def test_who_may_set_and_see_budgets(gate: GateOnTest) -> None:
    await set_budget(gate, scope="member", member="partner@firm-1.example", measure="tokens", limit=1_000_000)
    asked = {"scope": "organization", "measure": "tokens", "limit": 1, "reason": "R"}
    for who in (EMPLOYEE, principal_of(who="partner", door="rest")):
        assert (await gate.call("budget_set", asked, who)).outcome == "denied"
    shown = await gate.call("budget_query", {}, EMPLOYEE)
    assert cast(Json, shown.result)["items"] == []
    other = await gate.call("budget_query", {}, principal_of(FIRM_B, who="partner", mode="person", door="rest"))
    assert cast(Json, other.result)["items"] == []


PAYER = Payer(organization_id=FIRM_A.organization_id, principal_id=FIRM_A.id("employee"), run_id=UUID(int=7))


def reservations(pools: DatabasePools) -> PostgresReservations:
    return reservations_on(pools)


def wanted(held_for: timedelta = timedelta(minutes=5), call_id: UUID | None = None, **amounts: int | None) -> Wanted:
    named = cast("dict[Measure, int | None]", {name.replace("_", ":"): amount for name, amount in amounts.items()})
    return Wanted(payer=PAYER, amounts=named, held_for=held_for, call_id=call_id)


GONE = timedelta(seconds=-1)
"""Whoever held it is gone."""


async def test_what_a_killed_process_held_is_given_back(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection
) -> None:
    await set_budget(gate, measure="calls", effect="prepare", limit=2)
    await set_budget(gate, measure="tokens", limit=100)
    budgets = reservations(pools)
    done = await gate.call("task_create", TASK, EMPLOYEE)
    assert done.outcome == "done"
    # Killed before its call was made, and at a model whose answer nobody hears any more.
    assert isinstance(await budgets.reserve(wanted(GONE, uuid4(), calls_prepare=1)), Held)
    assert isinstance(await budgets.reserve(wanted(GONE, tokens=100)), Held)
    assert await used(superuser_connection, "calls:prepare") == (1, 1)

    # Whoever comes next is not refused for it, though no worker has swept.
    assert (await gate.call("task_create", TASK, EMPLOYEE)).outcome == "done"
    assert await used(superuser_connection, "calls:prepare") == (2, 0)
    assert isinstance(await budgets.reserve(wanted(tokens=100)), Held)
    assert isinstance(await budgets.reserve(wanted(tokens=1)), Exhausted)
    assert await used(superuser_connection, "tokens") == (0, 100)


async def test_a_call_that_was_made_before_its_process_was_killed_counts(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection
) -> None:
    await set_budget(gate, measure="calls", effect="prepare", limit=10)
    # As it stands where the process was killed between the call's commit and the settling.
    call_id = CallId(uuid4())
    assert isinstance(await reservations(pools).reserve(wanted(GONE, call_id, calls_prepare=1)), Held)
    await set_budget(gate, measure="calls", effect="prepare", limit=None)
    assert (await gate.call("task_create", TASK, EMPLOYEE, call_id=call_id)).outcome == "done"
    await set_budget(gate, measure="calls", effect="prepare", limit=10)
    assert await used(superuser_connection, "calls:prepare") == (0, 1)
    returns = PostgresBudgetReturns(pools.service.acquire)
    assert await returns.take_back() == 1
    assert await used(superuser_connection, "calls:prepare") == (1, 0)
    assert await returns.take_back() == 0


async def test_settling_puts_the_real_figure_in_and_what_was_taken_back_is_counted_all_the_same(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection
) -> None:
    await set_budget(gate, measure="tokens", limit=100)
    budgets = reservations(pools)
    for held_for, really, in_all in ((timedelta(minutes=5), 30, 30), (GONE, 25, 55)):
        held = await budgets.reserve(wanted(held_for, tokens=60))
        assert isinstance(held, Held)
        await PostgresBudgetReturns(pools.service.acquire).take_back()
        await budgets.settle(held, {"tokens": really})
        assert await used(superuser_connection, "tokens") == (in_all, 0)


async def test_organization_member_and_run_in_random_order_never_block_one_another_and_are_never_overspent(
    gate: GateOnTest, pools: DatabasePools, superuser_connection: Connection
) -> None:
    email = "employee@firm-1.example"
    await set_budget(gate, measure="tokens", limit=4_000)
    await set_budget(gate, measure="money", limit=0.004)
    await set_budget(gate, scope="member", member=email, measure="tokens", limit=3_000)
    await set_budget(gate, scope="run", measure="money", limit=0.001)
    await set_budget(gate, scope="run", measure="tokens", limit=1_000)
    budgets, chance = reservations(pools), random.Random(20)
    people, runs = [FIRM_A.id(who) for who in ("employee", "partner", "service")], [uuid4() for _ in range(5)]

    async def one(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(6):
            amounts: list[tuple[Measure, int | None]] = [("tokens", mine.randrange(1, 200)), ("money", 150)]
            mine.shuffle(amounts)
            payer = Payer(
                organization_id=FIRM_A.organization_id,
                principal_id=mine.choice(people),
                run_id=mine.choice([None, *runs]),
            )
            ends = mine.choice(["settled", "killed", "under way"])
            lasts = GONE if ends == "killed" else timedelta(minutes=5)
            answer = await budgets.reserve(Wanted(payer=payer, amounts=dict(amounts), held_for=lasts))
            if isinstance(answer, Held) and ends == "settled":
                spent = min(cast(int, answer.amounts["tokens"]), mine.randrange(1, 200))
                # Never more than was held: by how much an estimate was wrong is not what is tried here.
                await budgets.settle(answer, {"tokens": spent, "money": mine.randrange(150)})

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(24):
            group.create_task(one(chance.randrange(1_000_000)))
    await PostgresBudgetReturns(pools.service.acquire).take_back()
    rows = await superuser_connection.fetch(
        """
        SELECT u.scope, u.measure, u.used, u.reserved, coalesce(sum(r.amount), 0) AS held
        FROM budget_use u LEFT JOIN budget_reservations r USING (organization_id, scope, subject, measure, period)
        WHERE u.measure IN ('tokens', 'money') GROUP BY u.organization_id, u.scope, u.subject, u.measure, u.period
        """
    )
    most = {
        ("organization", "tokens"): 4_000,
        ("organization", "money"): 4_000,
        ("member", "tokens"): 3_000,
        ("run", "tokens"): 1_000,
        ("run", "money"): 1_000,
    }
    assert {(row["scope"], row["measure"]) for row in rows} == set(most)
    for row in rows:
        assert row["reserved"] == row["held"], "what is held is what somebody holds"
        assert row["used"] + row["reserved"] <= most[row["scope"], row["measure"]]


async def test_a_question_is_searched_by_its_words_once_no_tokens_are_left_and_by_meaning_not_at_all(
    pools: DatabasePools, seeded: None, superuser_connection: Connection
) -> None:
    def price_of(model: str) -> Price:
        return Price(input=100, output=0)

    embedder = FakeEmbedder()
    async with gate_on(pools, embedder=embedder, price_of=price_of) as gate:
        await set_budget(gate, measure="tokens", limit=5)
        await set_budget(gate, measure="money", limit=0.0005)
        # Held by our count of tokens, settled by the server's.
        first = await gate.call("knowledge_search", {"query": "text here"}, AGENT)
        assert first.outcome == "done"
        assert await used(superuser_connection, "tokens") == (2, 0)
        assert await used(superuser_connection, "money") == (200, 0)
        second = await gate.call("knowledge_search", {"query": "what is said of four clauses"}, AGENT)
        assert (second.outcome, cast(Json, second.result)["mode"]) == ("done", "lexical")
        assert embedder.asked == ["text here"]
        refused = await gate.call("knowledge_search", {"query": "and by meaning alone now", "mode": "vector"}, AGENT)
        assert refused.outcome == "denied"
        assert refused.error is not None
        assert "The organization's budget of 0.0005 US dollars a day has too little left" in refused.error.message
        assert await used(superuser_connection, "tokens") == (2, 0)


async def test_of_a_model_without_a_price_no_budget_of_money_lets_anything_through(
    pools: DatabasePools, seeded: None
) -> None:
    async with gate_on(pools, embedder=FakeEmbedder()) as gate:
        await set_budget(gate, measure="money", limit=1_000)
        refused = await gate.call("knowledge_search", {"query": "by meaning", "mode": "vector"}, AGENT)
        assert refused.outcome == "denied"
        assert refused.error is not None
        assert "cannot be kept: the model has no price" in refused.error.message
