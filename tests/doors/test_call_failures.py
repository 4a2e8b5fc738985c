"""Calls that fail inside: over HTTP they say that they failed and under which id, and nothing of what went wrong."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain.kernel import utc_now
from knowledge.isolate import IsolatedPreparer
from server.app import AppOptions, create_app
from server.database.connection import Connection
from server.hub import Hub
from server.incidents import PostgresIncidents
from tests.support.database import Database
from tests.support.doors import Doors, opened_hub, problem_of
from tests.support.gates import failing, rules_of_the_project
from tools.gate import Gate
from tools.handlers import HANDLERS
from tools.outcomes import Json
from tools.spending import no_price
from tools.work import CallContext

INNER = ("RuntimeError", "Traceback", "hunter2", "10.0.0.7")
TITLE = "Never stands"
CALLS: dict[str, Json] = {"task_create": {"title": TITLE}, "task_list": {}}
EVENTS = "SELECT kind, error_code, error_reference FROM activity_events WHERE call_id = $1 ORDER BY opens DESC"

Ending = Callable[[], Awaitable[None]]


async def hang() -> None:
    await asyncio.Event().wait()


async def fault() -> None:
    raise RuntimeError("hunter2 is refused by 10.0.0.7")


@asynccontextmanager
async def doors_where(database: Database, tool: str, end: Ending, timeout: timedelta | None) -> AsyncGenerator[Doors]:
    """The application with one tool that does its work and then ends like this."""

    async def work(arguments: Any, context: CallContext) -> Json:
        await HANDLERS[tool].work(arguments, context)
        await end()
        raise AssertionError("it does not come back")

    async with IsolatedPreparer() as preparer, opened_hub(database) as hub, AsyncExitStack() as clients:
        registry, policies, workflows, _ = rules_of_the_project(preparer, failing(tool, work), timeout)
        gate = Gate(
            registry=registry,
            policies=policies,
            workflows=workflows,
            transactions=hub.transactions,
            recorder=hub.recorder,
            queue=hub.jobs,
            task_runs=hub.task_runs,
            incidents=PostgresIncidents(hub.transactions, hub.identities),
            clock=utc_now,
            monotonic=asyncio.get_running_loop().time,
            new_id=hub.new_id,
            price_of=no_price,
            reservations=hub.reservations,
        )
        changed: Hub = replace(hub, gate=gate, rules=replace(hub.rules, registry=registry))
        app = create_app(lambda: nullcontext(changed), AppOptions(runs_worker=False))
        async with app.router.lifespan_context(app):
            yield Doors(hub=changed, app=app, clients=clients)


async def call(doors: Doors, tool: str) -> httpx.Response:
    client = await doors.client()
    return await client.post(f"/v1/tools/{tool}/call", json={"arguments": CALLS[tool]})


def kinds_of(tool: str) -> list[str]:
    """What the record holds of a failed call: a ticket, too, where it would have written."""
    return ["tool.allowed", "tool.failed"] if tool == "task_create" else ["tool.failed"]


@pytest.mark.parametrize("tool", CALLS)
async def test_a_call_that_takes_too_long_is_a_504_and_nothing_of_it_stands(
    database: Database, superuser_connection: Connection, tool: str
) -> None:
    async with doors_where(database, tool, hang, timedelta(milliseconds=300)) as doors:
        answer = await call(doors, tool)

    problem = problem_of(answer, 504, "timeout")
    assert (problem["outcome"], problem["detail"]) == ("failed", "The tool took longer than 0.3 s.")
    events = await superuser_connection.fetch(EVENTS, UUID(str(problem["call_id"])))
    assert [event["kind"] for event in events] == kinds_of(tool)
    assert events[-1]["error_code"] == "timeout"
    assert not await superuser_connection.fetch("SELECT FROM tasks WHERE title = $1", TITLE)


@pytest.mark.parametrize("tool", CALLS)
async def test_a_call_whose_handler_faults_is_a_502_without_a_word_of_the_fault(
    database: Database, superuser_connection: Connection, tool: str
) -> None:
    async with doors_where(database, tool, fault, None) as doors:
        answer = await call(doors, tool)

    problem = problem_of(answer, 502, "internal")
    assert (problem["outcome"], problem["detail"]) == ("failed", "The tool failed by a fault of its own.")
    for word in INNER:
        assert word not in answer.text
    events = await superuser_connection.fetch(EVENTS, UUID(str(problem["call_id"])))
    assert [event["kind"] for event in events] == kinds_of(tool)
    # The reference is what the answer, the record and the log have in common.
    assert events[-1]["error_code"] == "internal"
    assert problem["reference"] == events[-1]["error_reference"]
    assert not await superuser_connection.fetch("SELECT FROM tasks WHERE title = $1", TITLE)
