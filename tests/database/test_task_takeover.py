"""A worker killed or stalled at any point of a run that acts outside: another finishes it, and each act is done once.

`make task-takeover` goes through every point; a sample of them runs with all other tests.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import cast

import psutil
import pytest

from server.database.connection import Connection
from tests.support.database import Database
from tests.support.firms import seed_firms
from tests.support.gates import principal_of
from tests.support.letters import (
    GATE_STAGES,
    NAMES,
    OFFICE_STAGES,
    Halt,
    forkserver,
    letters_worker,
    work_and_halt,
)
from tests.support.outside import PostOffice, Turn, serving
from tools.outcomes import Json
from tools.work import Job

HAND = principal_of(mode="person", door="rest")
EVENTS = """
SELECT c.call_id, array_agg(c.kind ORDER BY c.occurred_at, c.opens DESC) AS kinds FROM activity_events c
WHERE c.task_run_id = $1 GROUP BY c.call_id
"""
ENDED = ["tool.allowed", "tool.completed"]
EVERYWHERE = bool(os.environ.get("GLOW_EVERY_POINT"))
HELD_OPEN = {"facts", "verdict", "ticket", "work", "concluded"}
"""Points within a transaction: a stalled process that holds one open holds up whoever makes the same call."""


def points() -> Iterator[tuple[str, int, int]]:
    """Where, at which letter, and by which signal."""
    stages = (*GATE_STAGES, *OFFICE_STAGES)
    if not EVERYWHERE:
        yield from (("intended", 2, signal.SIGKILL), ("acted", 3, signal.SIGKILL), ("concluded", 4, signal.SIGKILL))
        yield from (("sent", 5, signal.SIGKILL), ("intended", 1, signal.SIGSTOP), ("acted", 5, signal.SIGSTOP))
        return
    for stage in stages:
        for number in range(1, len(NAMES) + 1):
            yield stage, number, signal.SIGKILL
            if stage not in HELD_OPEN:
                yield stage, number, signal.SIGSTOP


@pytest.mark.parametrize(("stage", "number", "sent"), list(points()))
async def test_each_act_of_a_run_whose_worker_is_stopped_is_done_once(
    database: Database,
    owner_connection: Connection,
    superuser_connection: Connection,
    stage: str,
    number: int,
    sent: int,
) -> None:
    await seed_firms(owner_connection)
    office = PostOffice()
    async with serving(office) as url, letters_worker(database.urls(), url) as (gate, worker):
        created = await gate.call("task_create", {"title": "Write", "kind": "refresh_analytics"}, HAND)
        task = cast(Json, (created.result or {})["task"])
        await gate.call("task_run", {"task_id": task["task_id"]}, HAND)
        job = gate.queue.jobs.pop()

        at_office = stage in OFFICE_STAGES
        halt = Halt(stage="" if at_office else stage, number=number, signal=sent)
        process = forkserver.Process(target=work_and_halt, args=(database.urls(), url, job, halt))
        if at_office:
            office.turn = _stopping(lambda: cast(int, process.pid), stage, number, sent)
        process.start()
        try:
            await _halted(process, sent)
            office.turn = PostOffice().turn

            async with asyncio.timeout(60):
                again = await worker.work(job)
                while again is not None:
                    await asyncio.sleep(0.05)
                    again = await worker.work(job)
            if sent == signal.SIGSTOP:
                os.kill(cast(int, process.pid), signal.SIGCONT)
                await asyncio.to_thread(process.join, 30)
        finally:
            process.kill()
            process.join()
        await _each_once(office, superuser_connection, job)


def _stopping(pid: Callable[[], int], stage: str, number: int, sent: int) -> Turn:
    async def turn(at: str) -> None:
        nonlocal number
        if at == stage:
            number -= 1
            if number == 0:
                os.kill(pid(), sent)

    return turn


async def _halted(process: BaseProcess, sent: int) -> None:
    """Returns once the process is dead, or stands still."""
    async with asyncio.timeout(60):
        if sent == signal.SIGKILL:
            await asyncio.to_thread(process.join)
            assert process.exitcode == -signal.SIGKILL
            return
        status = psutil.STATUS_RUNNING
        while status != psutil.STATUS_STOPPED:
            await asyncio.sleep(0.02)
            status = psutil.Process(process.pid).status()


async def _each_once(office: PostOffice, inspector: Connection, job: Job) -> None:
    assert list(office.sent.values()) == list(NAMES)
    rows = await inspector.fetch(EVENTS, job.subject_id)
    assert {str(row["call_id"]) for row in rows} >= set(office.sent)
    assert [row["kinds"] for row in rows if str(row["call_id"]) in office.sent] == [ENDED] * len(NAMES)
    progress = await inspector.fetchrow(
        "SELECT status, progress, failure FROM task_run_progress WHERE task_run_id = $1", job.subject_id
    )
    assert tuple(progress or ()) == ("completed", 1.0, None)
    assert await inspector.fetchval("SELECT count(*) FROM call_intents WHERE task_run_id = $1", job.subject_id) == 0
