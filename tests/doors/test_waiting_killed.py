"""Runs that wait for people, on two servers that are killed at each of such a run's states, while people race.

`make test` takes each state once; `make waiting` (GLOW_TEST_EVERY=1) many times, with other orders of the race.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from uuid import UUID

import httpx
import orjson
import pytest

from server.database.connection import Connection
from tests.support.database import Database
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Call, HangUp, Turn
from tests.support.fake_turns import Json as Body
from tests.support.firms import FIRM_A, seed_firms
from tests.support.replicas import Replica, Replicas, replicas

Json = dict[str, Any]
State = Literal["asked", "open", "waiting", "decided", "going on"]
STATES: tuple[State, ...] = ("asked", "open", "waiting", "decided", "going on")
"""Before a question is kept; before the row says that the run waits; then; before it goes on; then."""

SEEDS = range(10 if os.environ.get("GLOW_TEST_EVERY") == "1" else 1)
WITHIN_S = 180
LOOK_S = 0.02
SAID = {200, 409, 503, 504}
"""Done, too late, not to be had just now, and not done in its time: what became of it is what the end shows."""
TERMINAL = ("run.completed", "run.cancelled", "run.failed")

pytestmark = pytest.mark.timeout(180 + 60 * len(STATES) * len(SEEDS))

QUIET = "UPDATE runs SET status = 'completed', finished_at = now()"
LEVEL = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
VALUES ($1, gen_random_uuid(), 'organization', 1, $2, clock_timestamp())
"""
# Who is about to write what a key is for waits for as long as the test holds the key.
HALTS = """
CREATE FUNCTION public.halt() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::bigint); RETURN NEW; END';
CREATE TRIGGER a_halt_asked BEFORE INSERT ON approvals FOR EACH ROW EXECUTE FUNCTION public.halt(1);
CREATE TRIGGER a_halt_open BEFORE UPDATE ON runs FOR EACH ROW
    WHEN (OLD.status = 'running' AND NEW.status = 'waiting') EXECUTE FUNCTION public.halt(2);
CREATE TRIGGER a_halt_decided BEFORE UPDATE ON runs FOR EACH ROW
    WHEN (OLD.status = 'waiting' AND NEW.status = 'running') EXECUTE FUNCTION public.halt(3);
"""
KEYS: dict[State, int] = {"asked": 1, "open": 2, "decided": 3}
HALTED = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# The database hears of a client's death only when it has something to tell it.
BURY = """
SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# What the killed had in hand is known by their silence.
SILENT = (
    "UPDATE queue.pgqueuer SET heartbeat = heartbeat - interval '1 minute', updated = updated - interval '1 minute'"
)
LAPSE = "UPDATE approvals SET expires_at = now() - interval '1 second' WHERE approval_id = $1 AND state = 'pending'"
APPROVALS = "SELECT approval_id, state FROM approvals WHERE run_id = $1 ORDER BY approval_id"
MADE = "SELECT count(*) FROM tasks WHERE title = ANY ($1)"
ENDINGS = """
SELECT count(*) AS ends, count(DISTINCT call_id) AS calls FROM activity_events
WHERE call_id IN (SELECT call_id FROM approvals WHERE run_id = $1) AND outcome IS NOT NULL AND kind <> 'tool.waiting'
"""


def titles(message: str) -> list[str]:
    """Of the two tasks that the model wants to create when it is told this."""
    return [f"{message}, first", f"{message}, second"]


@dataclass(slots=True)
class Thinking:
    """A model that asks for two tasks, says what became of them, and is deadly to those who come to hear that."""

    doomed: list[Replica] = field(default_factory=list[Replica])
    has_killed: bool = False
    heard: list[list[Json]] = field(default_factory=list[list[Json]])

    def think(self, body: Body) -> Turn | HangUp:
        messages = cast("list[Json]", body["messages"])
        self.heard.append(messages)
        said = max(place for place, each in enumerate(messages) if each["role"] == "user")
        if len(messages) == said + 1:
            calls = [
                Call(name="task_create", arguments=orjson.dumps({"title": title}).decode(), id=f"call_{number}")
                for number, title in enumerate(titles(messages[said]["content"]))
            ]
            return Turn(calls=tuple(calls))
        if self.doomed:
            for replica in self.doomed:
                replica.signal(signal.SIGKILL)
            self.doomed, self.has_killed = [], True
            return HangUp()
        return Turn(text="That is settled.")


def assert_valid(messages: Sequence[Json]) -> None:
    """Each call has exactly one result, right behind the words that it was asked with."""
    left = list(messages)
    while left:
        message = left.pop(0)
        assert message["role"] != "tool"
        asked = [each["id"] for each in message.get("tool_calls") or ()]
        results, left = left[: len(asked)], left[len(asked) :]
        assert [each.get("tool_call_id") for each in results] == asked


@dataclass(slots=True)
class Site:
    """Two servers that take jobs too; the place of one that was killed is taken by another."""

    started: Replicas
    stack: AsyncExitStack
    thinking: Thinking
    inspector: Connection
    owner: Connection
    pair: list[Replica] = field(default_factory=list[Replica])

    async def fill(self) -> None:
        """Have two of them, who find what others had in hand."""
        await self.inspector.execute(SILENT)
        while len(self.pair) < 2:
            self.pair.append(await self.stack.enter_async_context(self.started.running(works=True)))

    async def kill(self, *replicas: Replica) -> None:
        """Kill these, if the model did not; what they were about to write is not written."""
        for replica in replicas:
            self.pair.remove(replica)
            if not self.thinking.has_killed:
                replica.signal(signal.SIGKILL)
        self.thinking.doomed, self.thinking.has_killed = [], False
        await self.inspector.fetchval(BURY)

    @asynccontextmanager
    async def held(self, state: State) -> AsyncGenerator[None]:
        """Nobody comes beyond this state for the length of the block."""
        await self.inspector.execute("SELECT pg_advisory_lock($1)", KEYS[state])
        try:
            yield
        finally:
            await self.inspector.execute("SELECT pg_advisory_unlock($1)", KEYS[state])

    async def comes_to(self, state: State) -> None:
        """Returns once somebody would go beyond it."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                if await self.inspector.fetchval(HALTED, KEYS[state]):
                    return
                await asyncio.sleep(LOOK_S)

    async def status(self, run_id: UUID) -> str:
        return await self.inspector.fetchval("SELECT status FROM runs WHERE run_id = $1", run_id)

    async def waits(self, run_id: UUID) -> None:
        """Returns once the run waits."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                if (status := await self.status(run_id)) == "waiting":
                    return
                assert status == "running", status
                await asyncio.sleep(LOOK_S)

    async def approvals(self, run_id: UUID) -> dict[UUID, str]:
        return {row["approval_id"]: row["state"] for row in await self.inspector.fetch(APPROVALS, run_id)}


@asynccontextmanager
async def site(database: Database, inspector: Connection, owner: Connection) -> AsyncGenerator[Site]:
    thinking = Thinking()
    async with (
        FakeOpenAI(brain=thinking.think) as model,
        replicas(database, model.base_url) as started,
        AsyncExitStack() as stack,
    ):
        made = Site(started, stack, thinking, inspector, owner)
        await made.fill()
        yield made


async def begun(replica: Replica, message: str, who: str = "employee") -> UUID:
    """A new run; its stream is left."""
    async with (
        replica.client(who) as client,
        client.stream("POST", "/v1/chat", json={"message": message}, headers={"Accept": "text/event-stream"}) as answer,
    ):
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                return UUID(orjson.loads(line.removeprefix("data: "))["run_id"])
    raise AssertionError("nothing was told")


@dataclass(frozen=True, slots=True)
class Answered:
    """What somebody who tried to settle something was told."""

    how: str
    approval_id: UUID | None
    status: int


async def asked_of(here: Site, run_id: UUID, chance: random.Random) -> list[UUID]:
    """The run's two questions, of which the time of one may be over."""
    asked = list(await here.approvals(run_id))
    assert len(asked) == 2
    if chance.random() < 0.3:
        await here.owner.execute(LAPSE, chance.choice(asked))
    return asked


async def race(
    here: Site, run_id: UUID, asked: Sequence[UUID], chance: random.Random, *, cancels: bool
) -> list[Answered]:
    """All who could settle the questions do, at once, on both servers; what those were told who got an answer."""

    async def settle(replica: Replica, how: str, approval_id: UUID | None) -> Answered:
        path, body = f"/v1/runs/{run_id}/cancel", None
        if approval_id is not None:
            path, body = f"/v1/approvals/{approval_id}/decision", {"decision": how}
        async with replica.client("employee" if approval_id is None else "partner") as client:
            return Answered(how, approval_id, (await client.post(path, json=body)).status_code)

    racing = [
        settle(replica, how, approval_id)
        for replica in here.pair
        for approval_id in asked
        for how in ("approve", "reject")
    ]
    racing += [settle(replica, "cancel", None) for replica in here.pair if cancels]
    chance.shuffle(racing)
    ended = await asyncio.gather(*racing, return_exceptions=True)
    for each in ended:
        # Who was asking a server that was killed is told nothing.
        assert not isinstance(each, BaseException) or isinstance(each, httpx.TransportError), each
    return [each for each in ended if isinstance(each, Answered)]


async def brought_to_its_end(here: Site, run_id: UUID) -> None:
    """Whatever is still open is rejected; what has lapsed takes no answer, and is written down by a worker."""
    async with asyncio.timeout(WITHIN_S), here.pair[-1].client("partner") as client:
        while await here.status(run_id) in ("running", "waiting"):
            for approval_id, state in (await here.approvals(run_id)).items():
                if state == "pending" and await here.status(run_id) == "waiting":
                    answer = await client.post(f"/v1/approvals/{approval_id}/decision", json={"decision": "reject"})
                    assert answer.status_code in SAID, answer.text
            await asyncio.sleep(LOOK_S)


async def gone_on(here: Site, run_id: UUID, asked: Sequence[UUID]) -> None:
    """Returns once the model was told how both questions ended, whatever ends them, or the run is over without that."""
    async with asyncio.timeout(WITHIN_S):
        while not here.thinking.has_killed and await here.status(run_id) in ("running", "waiting"):
            for approval_id in asked:
                await here.owner.execute(LAPSE, approval_id)
            await asyncio.sleep(LOOK_S)


async def killed_at(state: State, here: Site, message: str, chance: random.Random) -> tuple[UUID, list[Answered]]:
    """A run whose servers are killed at that state, and whose questions were raced for."""
    one, _ = here.pair
    if state in ("asked", "open"):
        async with here.held(state):
            run_id = await begun(one, message)
            await here.comes_to(state)
            await here.kill(one)
        await here.fill()
    else:
        run_id = await begun(one, message)
    await here.waits(run_id)
    if state == "waiting":
        await here.kill(one)
        await here.fill()
    both, asked, cancels = list(here.pair), await asked_of(here, run_id, chance), chance.random() < 0.5
    if state == "decided":
        async with here.held(state), asyncio.TaskGroup() as group:
            # Only a decision wakes the run here.
            racing = group.create_task(race(here, run_id, asked, chance, cancels=False))
            await here.comes_to(state)
            await here.kill(*both)
        answered = racing.result()
    elif state == "going on":
        here.thinking.doomed = both
        answered = await race(here, run_id, asked, chance, cancels=cancels)
        await gone_on(here, run_id, asked)
        await here.kill(*both)
    else:
        answered = await race(here, run_id, asked, chance, cancels=cancels)
    await here.fill()
    return run_id, answered


async def frames_of(replica: Replica, run_id: UUID, who: str = "employee") -> list[bytes]:
    async with replica.client(who) as client, client.stream("GET", f"/v1/runs/{run_id}/events?after=0") as answer:
        assert answer.status_code == 200
        return [line.encode()[6:] async for line in answer.aiter_lines() if line.startswith("data: ")]


def assert_whole(frames: Sequence[Json]) -> None:
    """Numbered without a gap, one end of each call and of the run, each question decided at most once."""
    kinds = [frame["type"] for frame in frames]
    assert [frame["sequence"] for frame in frames] == list(range(1, len(frames) + 1)), kinds
    assert [kind for kind in kinds if kind in TERMINAL] == [kinds[-1]], kinds
    for kind, name in (("tool.called", "call_id"), ("tool.completed", "call_id"), ("approval.decided", "approval_id")):
        named = [frame[name] for frame in frames if frame["type"] == kind]
        assert len(named) == len(set(named)), (kind, kinds)
    assert kinds.count("tool.called") == kinds.count("tool.completed") == 2, kinds


async def assert_settled_once(here: Site, run_id: UUID, message: str, answered: Sequence[Answered]) -> None:
    told = [await frames_of(replica, run_id) for replica in here.pair]
    assert told[0] == told[1]
    assert_whole([orjson.loads(frame) for frame in told[0]])
    assert {each.status for each in answered} <= SAID, answered
    for messages in here.thinking.heard:
        assert_valid(messages)
    states = await here.approvals(run_id)
    assert set(states.values()) <= {"executed", "rejected", "expired", "cancelled"}
    for approval_id, state in states.items():
        done = [each.how for each in answered if each.approval_id == approval_id and each.status == 200]
        assert len(done) <= 1, answered
        assert not done or state == {"approve": "executed", "reject": "rejected"}[done[0]]
    assert await here.inspector.fetchval(MADE, titles(message)) == list(states.values()).count("executed")
    row = await here.inspector.fetchrow(ENDINGS, run_id)
    assert row is not None
    assert row["ends"] == row["calls"] == len(states) == 2


async def test_wherever_its_servers_are_killed_a_run_that_waits_is_settled_once_and_goes_on_once(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    await owner_connection.execute(QUIET)
    await owner_connection.execute(LEVEL, FIRM_A.organization_id, FIRM_A.id("partner"))
    await superuser_connection.execute(HALTS)
    async with site(database, superuser_connection, owner_connection) as here:
        for seed in SEEDS:
            for state in STATES:
                message = f"{state} {seed}"
                run_id, answered = await killed_at(state, here, message, random.Random(message))
                await brought_to_its_end(here, run_id)
                await assert_settled_once(here, run_id, message, answered)
