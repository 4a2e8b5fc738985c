"""A task run of five letters, and a worker in a process of its own that stops itself at a chosen point."""

import asyncio
import multiprocessing
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from domain.kernel import Level, utc_now
from server.database.identities import PostgresIdentities
from server.database.pool import open_pools
from server.logins import DatabaseUrls
from server.worker.task_runs import TaskRunWorker
from tests.support.gates import GateOnTest, gate_on
from tests.support.outside import TOOL, letter_tool
from tools.gate import Fault, no_fault
from tools.work import Job
from tools.workflows import Step, Workflow, Workflows

NAMES = ("a", "b", "c", "d", "e")
STEPS = tuple(
    Step(name=name, tool=TOOL, arguments={"to": name}, needs=NAMES[place - 1 : place])
    for place, name in enumerate(NAMES)
)
FIVE = Workflow(name="refresh_analytics", title="Five letters", description="", minimum_autonomy=Level.L1, steps=STEPS)
GATE_STAGES = ("parsed", "facts", "verdict", "ticket", "intended", "acted", "work", "concluded", "committed")
"""Between which a letter's call can be stopped by its own process."""
OFFICE_STAGES = ("received", "sent")
"""And by the office, while it waits for the answer."""

forkserver = multiprocessing.get_context("forkserver")
forkserver.set_forkserver_preload(["tests.support.letters"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Where a worker's process sends itself a signal: at the `number`th time that it comes to `stage`."""

    stage: str
    number: int
    signal: int


@asynccontextmanager
async def letters_worker(
    urls: DatabaseUrls, office: str, fault: Fault = no_fault
) -> AsyncGenerator[tuple[GateOnTest, TaskRunWorker]]:
    """A gate with the letters' tool, and a worker on it that runs the five letters."""
    manifest, handler = letter_tool(office)
    async with open_pools(urls) as pools, gate_on(pools, {TOOL: handler}, fault=fault, more=[manifest]) as gate:
        yield (
            gate,
            TaskRunWorker(
                gate=gate.gate,
                transactions=gate.transactions,
                identities=PostgresIdentities(pools.app),
                workflows=Workflows([FIVE]),
                clock=utc_now,
            ),
        )


def work_and_halt(urls: DatabaseUrls, office: str, job: Job, halt: Halt) -> None:
    """The process's own function: take the run up, and be stopped on the way."""
    asyncio.run(_work_and_halt(urls, office, job, _halting(halt)))


async def _work_and_halt(urls: DatabaseUrls, office: str, job: Job, fault: Fault) -> None:
    async with letters_worker(urls, office, fault) as (_, worker):
        await worker.work(job)


def _halting(halt: Halt) -> Callable[[str], Awaitable[None]]:
    reached = 0

    async def fault(stage: str) -> None:
        nonlocal reached
        if stage == halt.stage:
            reached += 1
            if reached == halt.number:
                os.kill(os.getpid(), halt.signal)

    return fault
