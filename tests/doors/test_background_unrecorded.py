"""A server killed in the midst of background work or of a document's life leaves all of it with its event, or none."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID

import httpx
import pytest

from server.database.connection import Connection
from tests.support.database import Database
from tests.support.faulty_server import Nursery, call_of, killed_asking, killed_at, killed_working, nursery
from tests.support.firms import FIRM_A, seed_firms
from tests.support.parted import assert_nothing_parted, calls_of

pytestmark = pytest.mark.timeout(120)

Json = dict[str, Any]

STEPS = ("ticket", "work", "outcome", "committed")
LETTER = ("letter.md", b"# Bank letter\n\nThe bank confirms the balances at the end of the year.\n")

# A worker that was killed is known by its silence, and a document without a job by its age.
LATER = """
UPDATE queue.pgqueuer SET heartbeat = heartbeat - interval '1 minute';
UPDATE knowledge_documents SET updated_at = updated_at - interval '1 minute';
"""
WORKED_OFF = "SELECT NOT EXISTS (SELECT FROM queue.pgqueuer)"
DONE_OF_RUN = """
SELECT tool, count(*) FROM activity_events WHERE task_run_id = $1 AND kind = 'tool.completed' GROUP BY tool
"""
DOCUMENT = """
SELECT document_id, status, chunk_count, deleted_at IS NOT NULL AS deleted FROM knowledge_documents
WHERE content_sha256 <> ''
"""


@pytest.fixture
async def servers(database: Database, owner_connection: Connection) -> AsyncIterator[Nursery]:
    await seed_firms(owner_connection)
    # The seeded run is nobody's business here: no worker is to take it up.
    await owner_connection.execute("UPDATE task_run_progress SET status = 'completed', finished_at = now()")
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    async with nursery(database) as running:
        yield running


async def time_passes(inspector: Connection) -> None:
    """What a killed worker had taken is taken by the next one, without the wait."""
    async with inspector.transaction():
        await inspector.execute("SET LOCAL session_replication_role = replica")
        await inspector.execute(LATER)


async def worked_off(servers: Nursery, inspector: Connection) -> None:
    """A server that nothing kills takes what there is, to its end; the suite's timeout bounds it."""
    await time_passes(inspector)
    async with servers.server(works=True), asyncio.timeout(20):
        while True:
            if await inspector.fetchval(WORKED_OFF):
                return
            await asyncio.sleep(0.05)


async def test_a_workflow_whose_worker_is_killed_at_each_step_does_every_step_once(
    servers: Nursery, owner_connection: Connection, superuser_connection: Connection
) -> None:
    task_id = FIRM_A.id("workflow task")
    await owner_connection.execute(
        "INSERT INTO tasks (organization_id, task_id, title, kind, status, created_by, created_at, updated_at) "
        "VALUES ($1, $2, 'Refresh', 'refresh_analytics', 'open', $3, now(), now())",
        FIRM_A.organization_id,
        task_id,
        FIRM_A.id("employee"),
    )
    await killed_at(servers, "enqueued", call_of("task_run"), {"arguments": {"task_id": str(task_id)}})
    run_id = await superuser_connection.fetchval("SELECT task_run_id FROM task_runs WHERE task_id = $1", task_id)

    # Of its calls only the last one writes: the first death leaves two reports done, which are not made again.
    for step in STEPS:
        await time_passes(superuser_connection)
        await killed_working(servers, step)
        assert await calls_of(superuser_connection, "analytics_report") == 2, step
        assert await calls_of(superuser_connection, "task_create") == int(step == "committed"), step
        await assert_nothing_parted(superuser_connection, f"a workflow's step at {step}")

    await worked_off(servers, superuser_connection)
    status = await superuser_connection.fetchval("SELECT status FROM task_run_progress WHERE task_run_id = $1", run_id)
    assert status == "completed"
    done = {row["tool"]: row["count"] for row in await superuser_connection.fetch(DONE_OF_RUN, run_id)}
    assert done == {"analytics_report": 2, "task_create": 1}
    assert await superuser_connection.fetchval("SELECT count(*) FROM tasks WHERE title LIKE 'Review%'") == 1
    await assert_nothing_parted(superuser_connection, "the run is done")


async def test_a_document_is_taken_in_indexed_and_deleted_whole_or_not_at_all(
    servers: Nursery, superuser_connection: Connection
) -> None:
    for step in STEPS:
        await killed_asking(servers, step, upload)
        committed = step == "committed"
        assert await calls_of(superuser_connection, "document_upload") == int(committed), step
        assert len(await superuser_connection.fetch(DOCUMENT)) == int(committed), step
        await assert_nothing_parted(superuser_connection, f"an upload at {step}")

    # The process died before it left a job: the document's row is what tells of it.
    for step in STEPS:
        await time_passes(superuser_connection)
        await killed_working(servers, step)
        committed = step == "committed"
        assert await calls_of(superuser_connection, "document_index") == int(committed), step
        assert (await the_document(superuser_connection))["status"] == ("ready" if committed else "queued"), step
        await assert_nothing_parted(superuser_connection, f"indexing at {step}")
    await worked_off(servers, superuser_connection)
    document = await the_document(superuser_connection)
    assert (document["status"], document["chunk_count"]) == ("ready", 1)
    await assert_nothing_parted(superuser_connection, "the document is ready")

    arguments = {"document_id": str(cast(UUID, document["document_id"]))}
    for step in STEPS:
        await killed_at(servers, step, call_of("document_delete"), {"arguments": arguments})
        committed = step == "committed"
        assert await calls_of(superuser_connection, "document_delete") == int(committed), step
        assert (await the_document(superuser_connection))["deleted"] == committed, step
        await assert_nothing_parted(superuser_connection, f"a deletion at {step}")


async def upload(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/knowledge/documents", files={"file": LETTER})


async def the_document(inspector: Connection) -> Json:
    """The one that was uploaded."""
    (row,) = await inspector.fetch(DOCUMENT)
    return dict(row)
