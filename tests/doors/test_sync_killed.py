"""The worker is killed again and again during a sync: the documents are as the folder is in the end, each once.

`make test` does it a few times; GLOW_TEST_SYNC_KILLS is how often, for each of the two syncs.
"""

import asyncio
import os
import random
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
import pytest

from server.database.connection import Connection
from tests.support.database import Database
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Turn
from tests.support.firms import seed_firms
from tests.support.replicas import Replicas, replicas

KILLS = int(os.environ.get("GLOW_TEST_SYNC_KILLS", "4"))
WITHIN_S = 120
LOOK_S = 0.02
FILES = 45

pytestmark = pytest.mark.timeout(300 + 20 * KILLS)

# A worker that was killed is known by its silence.
SILENT = "UPDATE queue.pgqueuer SET heartbeat = heartbeat - interval '1 minute'"
RESTED = "UPDATE queue.pgqueuer SET execute_after = now() WHERE status = 'queued' AND execute_after > now()"
STEPS = "SELECT count(*) FROM activity_events WHERE tool = 'source_sync'"
FINISHED = "SELECT finished_at IS NOT NULL FROM task_run_progress WHERE task_run_id = $1"
UNINDEXED = """
SELECT count(*) FROM knowledge_documents
WHERE source_id = $1 AND deleted_at IS NULL AND status NOT IN ('ready', 'failed')
"""
NOTHING_GOES_ON = """
UPDATE task_run_progress SET status = 'completed', finished_at = now();
UPDATE runs SET status = 'completed', finished_at = now();
DELETE FROM knowledge_staged;
"""
HELD = """
SELECT d.uri, d.text, d.status, (SELECT count(*) FROM knowledge_chunks c WHERE c.document_id = d.document_id) AS chunks
FROM knowledge_documents d
WHERE d.source_id = $1 AND d.deleted_at IS NULL AND d.replaced_by IS NULL ORDER BY d.uri
"""
STUCK = """
SELECT p.status, p.message, s.phase, s.failure, s.revision, (SELECT array_agg(d.status) FROM knowledge_documents d
        WHERE d.source_id = s.source_id) AS documents,
       (SELECT array_agg(q.entrypoint || ' ' || q.status || ' ' || q.attempts) FROM queue.pgqueuer q) AS jobs
FROM knowledge_sources s JOIN task_runs r USING (organization_id, task_id) JOIN task_run_progress p USING (task_run_id)
"""
TOLD = "SELECT kind, count(*) AS times FROM knowledge_source_changes WHERE source_id = $1 GROUP BY kind"


def written(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


async def brought_to_its_end(
    started: Replicas, client: httpx.AsyncClient, source: dict[str, Any], inspector: Connection, config: str
) -> None:
    """A sync whose worker is killed wherever it is, so many times; then left to come to its end."""
    chance, kills = random.Random(KILLS), KILLS
    begun = await client.post(f"/v1/knowledge/sources/{source['source_id']}/sync")
    assert begun.status_code == 202, begun.text
    run_id, source_id = UUID(begun.json()["task_run_id"]), UUID(source["source_id"])

    async def is_done() -> bool:
        await inspector.execute(RESTED)
        return bool(await inspector.fetchval(FINISHED, run_id)) and not await inspector.fetchval(UNINDEXED, source_id)

    until = asyncio.get_running_loop().time() + WITHIN_S
    async with AsyncExitStack() as stack:
        while not await is_done():
            more = {"system_config_path": config, "embedding_model": "none"}
            worker = await stack.enter_async_context(started.running("worker", more=more))
            seen = await inspector.fetchval(STEPS)
            wanted = seen + chance.randint(1, 2) if kills else 2**40
            while await inspector.fetchval(STEPS) < wanted:
                if await is_done():
                    break
                if asyncio.get_running_loop().time() > until:
                    raise AssertionError([dict(row) for row in await inspector.fetch(STUCK)])
                await asyncio.sleep(LOOK_S)
            await asyncio.sleep(chance.random() * 0.05)
            worker.signal(signal.SIGKILL)
            kills = max(kills - 1, 0)
            await inspector.execute(SILENT)
    ended = await client.get(f"/v1/task-runs/{run_id}")
    assert ended.json()["status"] == "completed", ended.text


async def held(inspector: Connection, source: dict[str, Any]) -> dict[str, str]:
    rows = await inspector.fetch(HELD, UUID(source["source_id"]))
    assert {(row["status"], row["chunks"]) for row in rows} == {("ready", 1)}
    assert len({row["uri"] for row in rows}) == len(rows)
    return {row["uri"].removeprefix("Papers/"): row["text"] for row in rows}


async def test_a_sync_comes_out_as_if_undisturbed(
    database: Database, owner_connection: Connection, superuser_connection: Connection, tmp_path: Path
) -> None:
    await seed_firms(owner_connection)
    await superuser_connection.execute("SET session_replication_role = replica")
    await superuser_connection.execute(NOTHING_GOES_ON)
    folder = tmp_path / "papers"
    files = {f"{n % 3}/{n:03}.md": f"The automobile number {n} is insured." for n in range(FILES)}
    folder.mkdir()
    written(folder, files)
    config = tmp_path / "system.yaml"
    config.write_text(f"sources: {{folders: [{{path: {folder}, organizations: [firm-1]}}]}}\n")
    more: dict[str, str | int] = {"system_config_path": str(config), "embedding_model": "none"}
    async with (
        FakeOpenAI(brain=lambda _: Turn(text="Nobody asks.")) as model,
        replicas(database, model.base_url) as started,
        started.running(more=more) as server,
        server.client("partner") as client,
    ):
        asked = {"kind": "folder", "name": "Papers", "settings": {"path": str(folder)}}
        added = await client.post("/v1/knowledge/sources", json=asked)
        assert added.status_code == 201, added.text
        source = cast("dict[str, Any]", added.json())
        await brought_to_its_end(started, client, source, superuser_connection, str(config))
        assert await held(superuser_connection, source) == files
        assert await told(superuser_connection, source) == {"added": FILES}

        for name in [name for name in files if name.startswith("0/")]:
            del files[name]
            (folder / name).unlink()
        (folder / "1").rename(folder / "moved")
        files = {name.replace("1/", "moved/", 1) if name.startswith("1/") else name: files[name] for name in files}
        changed = {name: f"{text} No more." for name, text in files.items() if name.startswith("2/")}
        written(folder, changed)
        files |= changed
        await brought_to_its_end(started, client, source, superuser_connection, str(config))
        assert await held(superuser_connection, source) == files
        third = FILES // 3
        assert await told(superuser_connection, source) == {
            "added": FILES,
            "removed": third,
            "renamed": third,
            "replaced": third,
        }


async def told(inspector: Connection, source: dict[str, Any]) -> dict[str, int]:
    rows = await inspector.fetch(TOLD, UUID(source["source_id"]))
    return {row["kind"]: row["times"] for row in rows}
