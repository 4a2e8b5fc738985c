"""A document is shown as parsing while a worker reads it, and as queued again once that worker fell silent."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta

import httpx

from domain.idempotency.postgres import PostgresKeyExpiry
from knowledge.isolate import IsolatedPreparer
from knowledge.model import StoredFile
from knowledge.prepare import PreparedDocument, prepare_document
from server.app import AppOptions, create_app
from server.database.connection import Connection
from server.database.queue import HEARTBEAT_TIMEOUT
from server.hub import Hub
from server.incidents import PostgresIncidents
from server.logins import Login
from server.worker.approvals import ApprovalWorker
from server.worker.documents import DocumentWorker
from server.worker.erasing import ErasureWorker
from server.worker.schedules import ScheduleWorker
from server.worker.settling import SettleWorker
from server.worker.task_runs import TaskRunWorker
from server.worker.worker import Worker
from tests.support.database import Database
from tests.support.doors import Doors, opened_doors, opened_hub, problem_of
from tests.support.gates import rules_of_the_project
from tools.gate import Gate
from tools.handlers.documents import document_handlers
from tools.spending import no_price

DOCUMENTS = "/v1/knowledge/documents"
FILE = {"file": ("letter.md", b"# Bank letter\n\nThe bank confirms the balances.\n")}
TAKEN = "UPDATE queue.pgqueuer SET status = 'picked', heartbeat = now() - $1::interval"
MOMENT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class HeldPreparer:
    """Says when it has begun with a file, and goes on when it may."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self, stored: StoredFile) -> PreparedDocument:
        self.begun.set()
        await self.may_go_on.wait()
        return prepare_document(stored.content, title=stored.title, media_type=stored.media_type)


def worker_that(hub: Hub, preparer: HeldPreparer, database: Database) -> Worker:
    """The hub's worker, with files read by `preparer`."""
    replaced = document_handlers(hub.rules.staging, preparer.prepare)
    registry, policies, workflows, _ = rules_of_the_project(IsolatedPreparer(), {**replaced})
    gate = Gate(
        registry=registry,
        policies=policies,
        workflows=workflows,
        transactions=hub.transactions,
        recorder=hub.recorder,
        queue=hub.jobs,
        task_runs=hub.task_runs,
        incidents=PostgresIncidents(hub.transactions, hub.identities),
        clock=hub.clock,
        monotonic=time.monotonic,
        new_id=hub.new_id,
        price_of=no_price,
        reservations=hub.reservations,
    )
    return Worker(
        service_url=database.dsn(Login.SERVICE),
        jobs=hub.jobs,
        heartbeats=hub.workers,
        task_runs=TaskRunWorker(
            gate=gate,
            transactions=hub.transactions,
            identities=hub.identities,
            workflows=workflows,
            clock=hub.clock,
        ),
        schedules=ScheduleWorker(gate=gate, transactions=hub.transactions, identities=hub.identities, clock=hub.clock),
        documents=DocumentWorker(gate=gate, identities=hub.identities, new_id=hub.new_id),
        approvals=ApprovalWorker(gate=gate, identities=hub.identities, new_id=hub.new_id),
        settling=SettleWorker(gate=gate, identities=hub.identities, new_id=hub.new_id),
        erasing=ErasureWorker(gate=gate, identities=hub.identities, new_id=hub.new_id),
        keys=PostgresKeyExpiry(hub.pools.service.acquire),
        new_id=hub.new_id,
    )


@asynccontextmanager
async def doors_whose_worker(database: Database, preparer: HeldPreparer) -> AsyncGenerator[Doors]:
    """The application, whose worker reads files by `preparer`."""
    async with opened_hub(database) as hub, AsyncExitStack() as clients:
        changed = replace(hub, worker=worker_that(hub, preparer, database))
        app = create_app(lambda: nullcontext(changed))
        async with app.router.lifespan_context(app):
            yield Doors(hub=changed, app=app, clients=clients)


async def shown(client: httpx.AsyncClient, document_id: str) -> set[str]:
    """The document's status where it is got and listed, and those by which the list is filtered and has it."""
    found = {(await client.get(f"{DOCUMENTS}/{document_id}")).json()["status"]}
    (listed,) = (await client.get(DOCUMENTS)).json()["items"]
    found.add(listed["status"])
    for status in ("queued", "parsing", "ready"):
        items = (await client.get(DOCUMENTS, params={"status": status})).json()["items"]
        found.update(status for item in items if item["document_id"] == document_id)
    return found


async def test_a_document_is_parsing_while_a_worker_reads_it_and_ready_afterwards(database: Database) -> None:
    preparer = HeldPreparer()
    async with doors_whose_worker(database, preparer) as doors, asyncio.timeout(60):
        client = await doors.client()
        uploading = asyncio.create_task(client.post(DOCUMENTS, params={"wait": True}, files=FILE))
        await preparer.begun.wait()
        (document,) = (await client.get(DOCUMENTS)).json()["items"]
        assert await shown(client, document["document_id"]) == {"parsing"}
        asked = {"document_id": document["document_id"]}
        read = await client.post("/v1/tools/knowledge_read/call", json={"arguments": asked})
        assert "parsing" in str(problem_of(read, 422, "document_not_ready")["detail"])
        table = (await client.get("/v1/analytics/knowledge")).json()["table"]
        assert sum(row[table["columns"].index("unfinished")] for row in table["rows"]) == 1

        preparer.may_go_on.set()
        assert (await uploading).json()["items"][0]["status"] == "ready"
        assert await shown(client, document["document_id"]) == {"ready"}


async def test_a_document_is_queued_again_once_its_worker_fell_silent_and_is_taken_up_by_another(
    database: Database, service_connection: Connection
) -> None:
    async with opened_doors(database, app_options=AppOptions(runs_worker=False)) as doors, asyncio.timeout(60):
        client = await doors.client()
        document_id = (await client.post(DOCUMENTS, files=FILE)).json()["items"][0]["document_id"]
        assert await shown(client, document_id) == {"queued"}
        await service_connection.execute(TAKEN, HEARTBEAT_TIMEOUT - MOMENT)
        assert await shown(client, document_id) == {"parsing"}
        await service_connection.execute(TAKEN, HEARTBEAT_TIMEOUT + MOMENT)
        assert await shown(client, document_id) == {"queued"}

        working = asyncio.create_task(doors.hub.worker.run())
        while await shown(client, document_id) != {"ready"}:
            pass
        working.cancel()
        await asyncio.wait([working])


async def test_no_other_organization_learns_what_is_being_read(
    database: Database, service_connection: Connection
) -> None:
    async with opened_doors(database, app_options=AppOptions(runs_worker=False)) as doors:
        ours, theirs = await doors.client(), await doors.client("employee@borealis")
        document_id = (await ours.post(DOCUMENTS, files=FILE)).json()["items"][0]["document_id"]
        await service_connection.execute(TAKEN, timedelta(0))
        assert await shown(ours, document_id) == {"parsing"}
        assert (await theirs.get(DOCUMENTS, params={"status": "parsing"})).json()["items"] == []
        problem_of(await theirs.get(f"{DOCUMENTS}/{document_id}"), 404, "not_found")
