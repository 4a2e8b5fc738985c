"""The group writer: what is handed in together stands together, and nobody waits for another's fault."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from agent.events import RunFrame
from domain.activity.model import ActivityEvent, Payload
from domain.kernel import CallId, EventId, OrganizationId, PrincipalId, RunId, utc_now
from server.database.connection import Connection
from server.database.errors import DatabaseUnavailable
from server.database.pool import DatabasePools, PoolOptions, open_pools
from server.database.recorder import RUN_PATIENCE_S, TICK_S, GroupRecorder
from tests.support.database import Database
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms
from tools.ports import Unavailable


@pytest.fixture
async def recorder(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GroupRecorder]:
    await seed_firms(owner_connection)
    recorder = GroupRecorder(pools.recorder, time.monotonic)
    async with recorder.running():
        yield recorder


def event(firm: Firm = FIRM_A) -> ActivityEvent:
    """A read's one event, with its payload."""
    return ActivityEvent(
        organization_id=OrganizationId(firm.organization_id),
        event_id=EventId(uuid4()),
        kind="tool.completed",
        opens=True,
        occurred_at=utc_now(),
        call_id=CallId(uuid4()),
        tool="task_list",
        effect="read",
        writes=(),
        door="chat",
        principal_id=PrincipalId(firm.id("employee")),
        principal_kind="person",
        role=None,
        mode="agent",
        attended=True,
        level=None,
        engagement_id=None,
        facts="{}",
        decision="allow",
        reasons=("within_role_and_autonomy",),
        approval_id=None,
        manifest_digest=None,
        policy_digest=None,
        outcome="done",
        error_code=None,
        error_reference=None,
        duration_ms=1.0,
        cost_micros=0,
        conversation_id=None,
        run_id=None,
        task_run_id=None,
        request_id=None,
        trace_id=None,
        payload=Payload(salt=b"salt", arguments="{}", result="{}"),
    )


def frame(sequence: int, firm: Firm = FIRM_A) -> RunFrame:
    return RunFrame(run_id=RunId(firm.id("thing")), sequence=sequence, type="message.delta", data=f'{{"n":{sequence}}}')


async def count(inspector: Connection, event_ids: list[EventId]) -> int:
    found = await inspector.fetchval("SELECT count(*) FROM activity_events WHERE event_id = ANY ($1)", event_ids)
    assert isinstance(found, int)
    return found


async def test_what_was_handed_in_is_committed_when_it_returns(
    recorder: GroupRecorder, superuser_connection: Connection
) -> None:
    recorded = event()
    await recorder.record([recorded])
    assert await count(superuser_connection, [recorded.event_id]) == 1
    payload = await superuser_connection.fetchrow(
        "SELECT salt, arguments FROM activity_payloads WHERE event_id = $1", recorded.event_id
    )
    assert payload is not None
    assert (payload["salt"], payload["arguments"]) == (b"salt", "{}")


async def test_many_callers_of_several_organizations_share_few_commits(
    recorder: GroupRecorder, superuser_connection: Connection
) -> None:
    events = [event(FIRM_A if n % 2 else FIRM_B) for n in range(200)]
    await asyncio.gather(*(recorder.record([each]) for each in events))
    assert await count(superuser_connection, [each.event_id for each in events]) == 200
    assert recorder.batches < 50


async def test_one_entry_that_cannot_be_written_fails_alone(
    recorder: GroupRecorder, superuser_connection: Connection
) -> None:
    good, bad = [event() for _ in range(5)], replace(event(), organization_id=OrganizationId(uuid4()))
    results = await asyncio.gather(
        *(recorder.record([each]) for each in [*good[:2], bad, *good[2:]]), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None)] * 2 + [asyncpg.ForeignKeyViolationError] + [
        type(None)
    ] * 3
    assert await count(superuser_connection, [each.event_id for each in good]) == 5


async def test_an_entry_handed_in_again_after_a_lost_answer_counts_as_written(
    recorder: GroupRecorder, superuser_connection: Connection
) -> None:
    recorded = event()
    await recorder.record([recorded])
    await recorder.record([recorded])
    assert await count(superuser_connection, [recorded.event_id]) == 1


async def test_events_handed_in_together_stand_or_fall_together(
    recorder: GroupRecorder, superuser_connection: Connection
) -> None:
    good, bad = event(), replace(event(), organization_id=OrganizationId(uuid4()))
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await recorder.record([good, bad])
    assert await count(superuser_connection, [good.event_id]) == 0


async def test_a_caller_that_gives_up_does_not_take_its_events_along(
    recorder: GroupRecorder, superuser_connection: Connection
) -> None:
    recorded = event()
    task = asyncio.create_task(recorder.record([recorded]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await recorder.record([event()])
    assert await count(superuser_connection, [recorded.event_id]) == 1


async def test_what_is_handed_in_before_the_end_is_written_at_the_end(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    recorder = GroupRecorder(pools.recorder, time.monotonic)
    recorded = [event() for _ in range(20)]
    async with recorder.running():
        tasks = [asyncio.create_task(recorder.record([each])) for each in recorded]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert await count(superuser_connection, [each.event_id for each in recorded]) == 20


async def test_a_trickle_of_frames_is_held_back_and_an_urgent_one_is_not(
    recorder: GroupRecorder, superuser_connection: Connection
) -> None:
    organization_id = OrganizationId(FIRM_A.organization_id)
    await recorder.append(organization_id, [frame(2)], epoch=1, urgent=False)
    before = recorder.batches
    waiting = [
        asyncio.create_task(recorder.append(organization_id, [frame(n)], epoch=1, urgent=False)) for n in (3, 4, 5)
    ]
    await asyncio.sleep(0)
    await recorder.append(organization_id, [frame(6)], epoch=1, urgent=True)
    await asyncio.gather(*waiting)
    assert recorder.batches == before + 1
    rows = await superuser_connection.fetch(
        "SELECT data FROM run_events WHERE organization_id = $1 ORDER BY sequence", organization_id
    )
    assert [row["data"] for row in rows][1:] == [f'{{"n":{n}}}' for n in range(2, 7)]


async def test_a_calls_record_takes_the_frames_that_linger_along(recorder: GroupRecorder) -> None:
    organization_id = OrganizationId(FIRM_A.organization_id)
    await recorder.append(organization_id, [frame(2)], epoch=1, urgent=False)
    before = recorder.batches
    waiting = [asyncio.create_task(recorder.append(organization_id, [frame(n)], epoch=1, urgent=False)) for n in (3, 4)]
    await asyncio.sleep(0)
    await recorder.record([event()])
    await asyncio.gather(*waiting)
    assert recorder.batches == before + 1


async def test_frames_do_not_wait_for_what_calls_records_took(recorder: GroupRecorder) -> None:
    for _ in range(60):
        await recorder.record([event()])
    async with asyncio.timeout(30 * TICK_S):
        await recorder.append(OrganizationId(FIRM_A.organization_id), [frame(2)], epoch=1, urgent=True)


async def test_the_intent_of_a_call_waits_for_no_tick(recorder: GroupRecorder) -> None:
    organization_id = OrganizationId(FIRM_A.organization_id)
    async with asyncio.timeout(30 * TICK_S):
        for sequence in range(2, 62):
            await recorder.append(organization_id, [replace(frame(sequence), type="tool.called")], epoch=1, urgent=True)


async def test_frames_alone_are_written_twenty_times_a_second_at_most(recorder: GroupRecorder) -> None:
    began = time.monotonic()
    for sequence in range(2, 14):
        await recorder.append(OrganizationId(FIRM_A.organization_id), [frame(sequence)], epoch=1, urgent=True)
    # The first at once, two ahead of their time, nine more a twentieth of a second apart.
    assert time.monotonic() - began >= 9 * TICK_S


async def test_frames_outlast_an_outage_that_a_calls_record_does_not(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    hasty = PoolOptions(max_size=2, command_timeout_s=0.2)
    async with open_pools(database.urls(), recorder=hasty) as pools:
        recorder = GroupRecorder(pools.recorder, time.monotonic, patience_s=0.5)
        async with recorder.running():
            async with superuser_connection.transaction():
                await superuser_connection.execute("LOCK TABLE run_events IN ACCESS EXCLUSIVE MODE")
                organization_id = OrganizationId(FIRM_A.organization_id)
                told = asyncio.create_task(recorder.append(organization_id, [frame(2)], epoch=1, urgent=True))
                await asyncio.sleep(0)
                with pytest.raises(Unavailable):
                    await recorder.record([event()])
                assert not told.done()
            await told
    data = await superuser_connection.fetchval("SELECT data FROM run_events WHERE sequence = 2")
    assert data == frame(2).data


async def test_what_follows_frames_that_were_given_up_is_given_up_with_them(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    hasty = PoolOptions(max_size=2, command_timeout_s=0.2)
    now = 0.0
    async with open_pools(database.urls(), recorder=hasty) as pools:
        recorder = GroupRecorder(pools.recorder, lambda: now)

        def handed_in(sequence: int) -> asyncio.Task[None]:
            organization_id = OrganizationId(FIRM_A.organization_id)
            return asyncio.create_task(recorder.append(organization_id, [frame(sequence)], epoch=1, urgent=True))

        async with recorder.running():
            async with superuser_connection.transaction():
                await superuser_connection.execute("LOCK TABLE run_events IN ACCESS EXCLUSIVE MODE")
                first = handed_in(2)
                await asyncio.sleep(0)
                now = 1.0
                second = handed_in(3)
                await asyncio.sleep(0)
                now = RUN_PATIENCE_S + 0.5
                await asyncio.wait([first])
            results = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailable] * 2
    assert not await superuser_connection.fetchval("SELECT count(*) FROM run_events WHERE sequence IN (2, 3)")


async def test_a_connection_lost_between_batches_loses_nothing(
    recorder: GroupRecorder, superuser_connection: Connection
) -> None:
    await recorder.record([event()])
    await superuser_connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE usename = 'glow_recorder' AND datname = current_database()"
    )
    recorded = [event() for _ in range(10)]
    await asyncio.gather(*(recorder.record([each]) for each in recorded))
    assert await count(superuser_connection, [each.event_id for each in recorded]) == 10


async def test_the_writer_outlives_a_commit_that_takes_too_long(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    hasty = PoolOptions(max_size=2, command_timeout_s=0.2)
    async with open_pools(database.urls(), recorder=hasty) as pools:
        recorder = GroupRecorder(pools.recorder, time.monotonic, patience_s=0.5)
        async with recorder.running():
            async with superuser_connection.transaction():
                await superuser_connection.execute("LOCK TABLE activity_events IN ACCESS EXCLUSIVE MODE")
                with pytest.raises(Unavailable):
                    await recorder.record([event()])
            assert recorder.alive
            recorded = event()
            await recorder.record([recorded])
    assert await count(superuser_connection, [recorded.event_id]) == 1
    assert not recorder.alive
