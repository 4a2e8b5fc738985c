"""Background task runs of three steps each, all recorded: how many one worker does, beside rows written by hand; and
ten thousand on two workers, one of them killed over and over, each done once.
"""

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import psutil

from benchmarks.processes import ROOT, cpu_s, machine, pin_this_process, pinned
from benchmarks.stage import Home, fresh_home, organization_id, person_id, postmaster
from benchmarks.tally import Row, Target, table
from domain.kernel import OrganizationId
from domain.resources import resource_folder
from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.database.pool import open_pools
from server.database.queue import PostgresJobs
from server.logins import Login
from tools.work import Job

PASSES = 3
RUNS = 2_000
WARM_RUNS = 100
MANY = 10_000
KILL_EVERY_S = 4.0
AT_ONCE = 20
TIMEOUT_S = 900.0

KIND = "three_steps"
WORKFLOW = """
name: three_steps
title: Three steps
description: Made for measuring - looks twice and drafts once.
minimum_autonomy: L1
steps:
  - {name: look, tool: task_list, arguments: {limit: 1}}
  - {name: ask, tool: autonomy_query}
  - {name: draft, tool: task_create, arguments: {title: {$text: "Drafted for {run.task_run_id}"}}}
"""
ADD_TASK = """
INSERT INTO tasks (organization_id, task_id, title, kind, status, created_by, created_at, updated_at)
VALUES ($1, $2, 'To be run', $3, 'open', $4, now(), now())
"""
ADD_RUNS = """
INSERT INTO task_runs (organization_id, task_run_id, task_id, kind, call_id, requested_by, created_at)
SELECT $1, run, $2, $3, gen_random_uuid(), $4, now() FROM unnest($5::uuid[]) AS run
"""
LEFT = """
SELECT count(*) FROM task_runs r LEFT JOIN task_run_progress p USING (organization_id, task_run_id)
WHERE r.task_id = $1 AND coalesce(p.status, 'queued') <> 'completed'
"""
DONE_ONCE = """
SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, count(DISTINCT task_run_id) AS runs,
       (SELECT count(*) FROM tasks WHERE title LIKE 'Drafted for %') AS drafts,
       (SELECT count(DISTINCT title) FROM tasks WHERE title LIKE 'Drafted for %') AS titles
FROM activity_events WHERE task_run_id IS NOT NULL AND kind = 'tool.completed'
"""


def main() -> None:
    """Measure and print."""
    pin_this_process()
    print(f"\nruns on {machine()}, {RUNS} runs a pass", flush=True)
    print(f"\n{table('Background task runs', measure())}", flush=True)
    print(f"\n{killed_over_and_over(MANY)}", flush=True)


def measure() -> list[Row]:
    """The benchmark's table."""
    ours: list[float] = []
    floor: list[float] = []
    worker_cpu: list[float] = []
    database_cpu: list[float] = []
    with fresh_home() as home, home.database() as server, manifests(home) as folder:
        for _ in range(PASSES):
            taken, spent, spent_below = _pass(home, server, folder)
            ours.append(1000 * taken / RUNS)
            worker_cpu.append(1000 * spent / RUNS)
            database_cpu.append(1000 * spent_below / RUNS)
            floor.append(1000 * asyncio.run(_by_hand(server)) / RUNS)
    return [
        Row(
            name="a run of three steps, one worker",
            unit="ms",
            ours=median(ours),
            floor=median(floor),
            target=Target(of="figure", must=10, aim=1000 / 300),
        ),
        Row(name="runs a second", unit="", ours=1000 / median(ours), floor=1000 / median(floor)),
        Row(name="CPU of the worker's process a run", unit="ms", ours=median(worker_cpu)),
        Row(name="CPU of PostgreSQL a run", unit="ms", ours=median(database_cpu)),
    ]


def _pass(home: Home, server: EmbeddedServer, folder: Path) -> tuple[float, float, float]:
    """Seconds from the first job's to the last run's end, and what the worker and PostgreSQL spent meanwhile."""
    with working(home, folder) as process:
        _done(server, asyncio.run(enqueued(server, WARM_RUNS)))
        below = postmaster(server)
        began, spent, spent_below = time.perf_counter(), cpu_s(psutil.Process(process.pid)), cpu_s(below)
        _done(server, asyncio.run(enqueued(server, RUNS)))
        taken = time.perf_counter() - began
        return taken, cpu_s(psutil.Process(process.pid)) - spent, cpu_s(below) - spent_below


def killed_over_and_over(runs: int) -> str:
    """What came of that many runs on two workers, one of which is killed again and again."""
    with fresh_home() as home, home.database() as server, manifests(home) as folder, working(home, folder):
        began, kills = time.perf_counter(), 0
        task_id = asyncio.run(enqueued(server, runs))
        while asyncio.run(left(server, task_id)):
            with working(home, folder) as victim:
                time.sleep(KILL_EVERY_S)
                victim.send_signal(signal.SIGKILL)
                kills += 1
            if time.perf_counter() - began > TIMEOUT_S:
                raise TimeoutError("the runs did not come to their end")
        taken = time.perf_counter() - began
        found = asyncio.run(_done_once(server))
    expected = {"calls": 3 * runs, "ids": 3 * runs, "runs": runs, "drafts": runs, "titles": runs}
    if found != expected:
        raise AssertionError(f"not each step was done once: {found}, where {expected} was to be")
    return f"{runs} runs on two workers, one killed {kills} times: each step of each run done once, in {taken:.0f} s."


@contextmanager
def manifests(home: Home) -> Generator[Path]:
    """The manifests that ship, with a workflow for measuring beside them."""
    folder = home.folder / "manifests"
    shutil.copytree(resource_folder("manifests"), folder)
    (folder / "workflows" / f"{KIND}.yaml").write_text(WORKFLOW)
    yield folder


@contextmanager
def working(home: Home, folder: Path) -> "Generator[subprocess.Popen[bytes]]":
    """A worker in a process of its own, on the servers' core."""
    command = pinned([sys.executable, "-m", "benchmarks.runs_worker", str(folder)])
    variables = {**os.environ, **home.variables("http://127.0.0.1:1/v1")}
    variables.pop("DATABASE_URL", None)
    with (
        home.log("worker").open("ab") as log,
        subprocess.Popen(command, env=variables, cwd=ROOT, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


async def enqueued(server: EmbeddedServer, runs: int) -> UUID:
    """A task with that many runs, each with its job."""
    task_id, ids = uuid4(), [uuid4() for _ in range(runs)]
    async with connected(server.dsn(Login.OWNER)) as owner:
        await owner.execute(ADD_TASK, organization_id(), task_id, KIND, person_id(0))
        await owner.execute(ADD_RUNS, organization_id(), task_id, KIND, person_id(0), ids)
    async with open_pools(server.urls()) as pools:
        organization = OrganizationId(organization_id())
        jobs = [Job(kind="task_run", organization_id=organization, subject_id=run) for run in ids]
        for start in range(0, runs, 500):
            await PostgresJobs(pools.service).enqueue(jobs[start : start + 500])
    return task_id


async def left(server: EmbeddedServer, task_id: UUID) -> int:
    """How many of the task's runs are not completed."""
    async with connected(server.dsn(Login.OWNER)) as owner:
        return await owner.fetchval(LEFT, task_id)


def _done(server: EmbeddedServer, task_id: UUID) -> None:
    asyncio.run(_await_done(server, task_id))


async def _await_done(server: EmbeddedServer, task_id: UUID) -> None:
    async with asyncio.timeout(TIMEOUT_S), connected(server.dsn(Login.OWNER)) as owner:
        unfinished = 1
        while unfinished:
            await asyncio.sleep(0.05)
            unfinished = await owner.fetchval(LEFT, task_id)


async def _done_once(server: EmbeddedServer) -> dict[str, int]:
    async with connected(server.dsn(Login.OWNER)) as owner:
        return dict(await owner.fetchrow(DONE_ONCE) or {})


# By hand --------------------------------------------------------------------------------------------------------------

HAND_TABLES = """
CREATE TABLE IF NOT EXISTS hand_runs (run_id uuid PRIMARY KEY, status text NOT NULL, worker int);
CREATE TABLE IF NOT EXISTS hand_events (event_id uuid PRIMARY KEY, run_id uuid, tool text, at timestamptz, said text);
CREATE TABLE IF NOT EXISTS hand_tasks (task_id uuid PRIMARY KEY, title text);
"""
TAKE = """
UPDATE hand_runs SET status = 'running' WHERE run_id = (
    SELECT run_id FROM hand_runs WHERE status = 'queued' LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING run_id
"""
EVENT = "INSERT INTO hand_events VALUES (gen_random_uuid(), $1, $2, now(), $3)"


async def _by_hand(server: EmbeddedServer) -> float:
    """Seconds for as many runs by a worker without policy, isolation or proof: it takes, looks twice, drafts, ends."""
    async with connected(server.dsn("postgres")) as one:
        await one.execute(HAND_TABLES)
        await one.execute("INSERT INTO hand_runs SELECT gen_random_uuid(), 'queued' FROM generate_series(1, $1)", RUNS)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(_hand(server))
    return time.perf_counter() - began


async def _hand(server: EmbeddedServer) -> None:
    async with connected(server.dsn("postgres")) as connection:
        while (run_id := await connection.fetchval(TAKE)) is not None:
            for tool in ("look", "ask"):
                await connection.fetch("SELECT task_id, title FROM hand_tasks ORDER BY task_id DESC LIMIT 1")
                await connection.execute(EVENT, run_id, tool, "{}")
            async with connection.transaction():
                await connection.execute("INSERT INTO hand_tasks VALUES (gen_random_uuid(), 'Drafted')")
                await connection.execute(EVENT, run_id, "draft", "{}")
            await connection.execute("UPDATE hand_runs SET status = 'completed' WHERE run_id = $1", run_id)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--killed", type=int, metavar="RUNS", help="only that many runs on two workers, one killed")
    asked = parser.parse_args()
    if asked.killed:
        print(killed_over_and_over(asked.killed), flush=True)
    else:
        main()
