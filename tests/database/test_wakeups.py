"""Runs that another process carries: their followers wake when a run has grown, share its reading, and miss nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from agent.conversations.ports import ConversationStore, Sessions
from agent.conversations.postgres.frames import GROWN_CHANNEL, grown_runs, notifications
from agent.events import RunFrame
from domain.kernel import OrganizationId, Principal, RunId
from server.database.connection import Connection, connected
from server.database.embedded import EmbeddedServer
from server.database.pool import DatabasePools
from server.database.recorder import GroupRecorder
from server.database.wakeups import RunWakeups
from server.logins import Login
from tests.database.test_recorder import event, frame
from tests.support.conversing import EVA, ONE_BEAT, process_on
from tests.support.database import Database, run_apart
from tests.support.firms import FIRM_A
from tests.support.scripted_model import ScriptedModel, says
from tests.support.served import firms_database

NEVER_BY_ITSELF = replace(ONE_BEAT, poll=timedelta(hours=2))
"""What a follower hears it hears by wake-ups."""
WORDS = ("One. ", "Two. ", "Three.")
ENDED_WITHIN_S = 30


@pytest.fixture(scope="module")
def database(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    """Both firms are there; their seeded runs are out of the way."""
    with firms_database(cluster, template) as database:
        run_apart(_without_runs(database))
        yield database


async def _without_runs(database: Database) -> None:
    async with connected(database.dsn(Login.OWNER)) as owner:
        await owner.execute("UPDATE runs SET status = 'completed', finished_at = now()")


@pytest.fixture
async def wakeups(database: Database) -> AsyncIterator[RunWakeups]:
    """Those of the process that follows."""
    wakeups = RunWakeups(database.urls().service)
    async with wakeups.running():
        await wakeups.listening.wait()
        yield wakeups


class Gates:
    """A pace that lets one event of the model through for each `open`."""

    def __init__(self) -> None:
        self._tickets = asyncio.Semaphore(0)

    async def __call__(self) -> None:
        await self._tickets.acquire()

    def open(self, count: int = 1) -> None:
        for _ in range(count):
            self._tickets.release()


class Counting:
    """Sessions that count how often they are opened to read."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.reads = 0

    @asynccontextmanager
    async def session(self, principal: Principal, *, read_only: bool) -> AsyncGenerator[ConversationStore]:
        self.reads += read_only
        async with self._sessions.session(principal, read_only=read_only) as store:
            yield store


class Reader:
    """A follower whose frames a test can wait for."""

    def __init__(self, frames: AsyncGenerator[RunFrame, None]) -> None:
        self._frames = frames
        self.seen: list[RunFrame] = []
        self._more = asyncio.Event()
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> list[RunFrame]:
        async for each in self._frames:
            self.seen.append(each)
            self._more.set()
        return self.seen

    async def until(self, words: str) -> None:
        """Returns when a frame holds the words."""
        while not any(words in each.data for each in self.seen):
            self._more.clear()
            await self._more.wait()


async def test_a_follower_elsewhere_is_woken_by_each_thing_that_is_told(
    pools: DatabasePools, wakeups: RunWakeups
) -> None:
    gates = Gates()
    async with (
        asyncio.timeout(ENDED_WITHIN_S),
        process_on(pools, ScriptedModel(says(*WORDS), pace=gates), options=NEVER_BY_ITSELF) as carrier,
        process_on(pools, ScriptedModel(), options=NEVER_BY_ITSELF, wakeups=wakeups) as other,
    ):
        begun = await carrier.say("Speak.")
        reader = Reader(other.runs.follow(EVA, begun.run_id))
        for words in WORDS:
            gates.open()
            await reader.until(words)
        gates.open(9)
        assert await reader.task == await carrier.frames(begun.run_id)
        assert reader.seen[-1].terminal


async def test_many_followers_of_a_run_share_its_reading(pools: DatabasePools, wakeups: RunWakeups) -> None:
    gates, counted = Gates(), list[Counting]()

    def counting(sessions: Sessions) -> Sessions:
        counted.append(Counting(sessions))
        return counted[-1]

    async with (
        asyncio.timeout(ENDED_WITHIN_S),
        process_on(pools, ScriptedModel(says(*WORDS), pace=gates), options=NEVER_BY_ITSELF) as carrier,
        process_on(pools, ScriptedModel(), options=NEVER_BY_ITSELF, wakeups=wakeups, around=counting) as other,
    ):
        begun = await carrier.say("Speak.")
        readers = [Reader(other.runs.follow(EVA, begun.run_id)) for _ in range(50)]
        for reader in readers:
            await reader.until("run.started")
        gates.open()
        for reader in readers:
            await reader.until("One. ")
        before = counted[0].reads
        gates.open(9)
        told = [await reader.task for reader in readers]
        # Three more words, the end of the message, the usage and the end of the run: a read for each at most.
        assert counted[0].reads - before < 10
        assert Counter(len(each) for each in told) == {len(told[0]): 50}
        assert told[0] == await carrier.frames(begun.run_id)


async def test_what_grew_while_the_connection_was_lost_is_seen_when_it_is_back(
    pools: DatabasePools, wakeups: RunWakeups, superuser_connection: Connection
) -> None:
    gates = Gates()
    async with (
        asyncio.timeout(ENDED_WITHIN_S),
        process_on(pools, ScriptedModel(says(*WORDS), pace=gates), options=NEVER_BY_ITSELF) as carrier,
        process_on(pools, ScriptedModel(), options=NEVER_BY_ITSELF, wakeups=wakeups) as other,
    ):
        begun = await carrier.say("Speak.")
        reader = Reader(other.runs.follow(EVA, begun.run_id))
        gates.open()
        await reader.until("One. ")
        await superuser_connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'glow wakeups' AND datname = current_database()"
        )
        gates.open(9)
        assert await reader.task == await carrier.frames(begun.run_id)
        await wakeups.listening.wait()


async def test_a_wake_up_that_was_lost_is_made_good_by_one_question_for_all(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    gates, over = Gates(), asyncio.Event()

    async def until_it_is_over(_: float) -> None:
        await over.wait()
        await asyncio.sleep(0.01)

    async with (
        asyncio.timeout(ENDED_WITHIN_S),
        process_on(pools, ScriptedModel(says(*WORDS), pace=gates)) as carrier,
        process_on(pools, ScriptedModel(), pause=until_it_is_over) as other,
    ):
        begun = await carrier.say("Speak.")
        beside = Reader(carrier.runs.follow(EVA, begun.run_id))
        await beside.until("run.started")
        reader = Reader(other.runs.follow(EVA, begun.run_id))
        await reader.until("run.started")
        gates.open(9)
        whole = await beside.task
        assert len(reader.seen) < len(whole)
        over.set()
        assert await reader.task == whole
    assert await owner_connection.fetchval("SELECT status FROM runs WHERE run_id = $1", begun.run_id) == "completed"


async def test_a_batch_tells_once_which_runs_have_grown_and_a_calls_record_tells_nobody(
    pools: DatabasePools, wakeups: RunWakeups
) -> None:
    told = asyncio.Queue[Collection[RunId] | None]()
    recorder = GroupRecorder(pools.recorder, time.monotonic)
    async with asyncio.timeout(ENDED_WITHIN_S), recorder.running():
        with wakeups.hear(told.put_nowait):
            organization_id = OrganizationId(FIRM_A.organization_id)
            await recorder.record([event()])
            await recorder.append(organization_id, [frame(n) for n in range(2, 9)], epoch=1, urgent=True)
            assert await told.get() == [RunId(FIRM_A.id("thing"))]
            assert told.empty()


async def test_what_no_process_of_ours_has_told_wakes_nobody_and_harms_nothing(
    wakeups: RunWakeups, owner_connection: Connection
) -> None:
    told = asyncio.Queue[Collection[RunId] | None]()
    run_id = RunId(uuid4())
    async with asyncio.timeout(ENDED_WITHIN_S):
        with wakeups.hear(told.put_nowait):
            for payload in ("all of them", run_id.hex):
                await owner_connection.execute("SELECT pg_notify($1, $2)", GROWN_CHANNEL, payload)
            assert await told.get() == [run_id]


def test_a_notification_is_shorter_than_the_server_allows() -> None:
    grown = [RunId(uuid4()) for _ in range(1_001)]
    payloads = notifications(grown)
    assert max(map(len, payloads)) < 8_000
    assert [run_id for payload in payloads for run_id in grown_runs(payload)] == grown
