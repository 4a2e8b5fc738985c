"""A Drive is followed while people work on it, Drive is busy and workers are killed: in the end all is as it is there.

And nobody finds, lists or reads what Drive would not show them. `make test` takes a small Drive; `make drive-sync` one
of 5,000 files: GLOW_TEST_DRIVE_FILES is how many, and a worker is killed once for each hundred of them.
"""

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
import orjson
import pytest

from server.database.connection import Connection
from tests.support.database import Database
from tests.support.driven_drive import Firm, firm
from tests.support.fake_drive import Refused, robot_credentials, served_drive
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Turn
from tests.support.firms import seed_firms
from tests.support.replicas import Replica, Replicas, replicas

Json = dict[str, Any]

FILES = int(os.environ.get("GLOW_TEST_DRIVE_FILES", "60"))
KILLS = max(3, FILES // 100)
WITHIN_S = 240 + FILES * 2
LOOK_S = 0.1
MEMBERS = ("partner", "employee", "client")
PEOPLE = (*(f"{who}@firm-1.example" for who in MEMBERS), "employee@firm-2.example", "stranger@elsewhere.example")

pytestmark = pytest.mark.timeout(300 + WITHIN_S)

# A worker that was killed is known by its silence, and what rests need not be waited for.
SILENT = "UPDATE queue.pgqueuer SET heartbeat = heartbeat - interval '1 minute'"
RESTED = """
UPDATE queue.pgqueuer SET execute_after = now() WHERE status = 'queued' AND execute_after > now();
UPDATE knowledge_sources SET rests_until = now() WHERE rests_until > now();
"""
AUTONOMY = """
INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at)
SELECT organization_id, gen_random_uuid(), 'organization', 2, user_id, clock_timestamp()
FROM memberships WHERE role = 'PARTNER'
"""
NOTHING_GOES_ON = """
UPDATE task_run_progress SET status = 'completed', finished_at = now();
UPDATE runs SET status = 'completed', finished_at = now();
DELETE FROM knowledge_staged;
"""
STEPS = "SELECT count(*) FROM activity_events WHERE tool = 'source_sync'"
GOING = """
SELECT count(*) FROM task_runs r WHERE r.task_run_id = $1 AND NOT EXISTS (
    SELECT FROM task_run_progress p WHERE p.task_run_id = r.task_run_id AND p.finished_at IS NOT NULL)
"""
UNREAD = """
SELECT count(*) FROM knowledge_documents
WHERE source_id = $1 AND deleted_at IS NULL AND replaced_by IS NULL AND status NOT IN ('ready', 'failed')
"""
HELD = """
SELECT i.item_key, i.path, d.content_sha256, d.status, d.document_id
FROM knowledge_source_items i JOIN knowledge_documents d USING (organization_id, document_id)
WHERE i.source_id = $1 AND d.deleted_at IS NULL
"""
CURRENT = """
SELECT count(*) FROM knowledge_documents WHERE source_id = $1 AND deleted_at IS NULL AND replaced_by IS NULL
"""


@dataclass(slots=True)
class Site:
    """A server that takes no jobs, one worker at a time, and the people of the firm."""

    started: Replicas
    stack: AsyncExitStack
    clients: Mapping[str, httpx.AsyncClient]
    inspector: Connection
    settings: Mapping[str, str | int]
    chance: random.Random = field(default_factory=lambda: random.Random(FILES))
    worker: Replica | None = None

    async def kill(self) -> None:
        """Kill the worker wherever it is, and have another who finds what it had in hand."""
        if self.worker is not None:
            self.worker.signal(signal.SIGKILL)
        await self.inspector.execute(SILENT)
        self.worker = await self.stack.enter_async_context(self.started.running("worker", more=self.settings))

    async def sync(self, source_id: str) -> UUID:
        """Begin one; the run."""
        answer = await self.clients["partner"].post(f"/v1/knowledge/sources/{source_id}/sync")
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["task_run_id"])

    async def ended(self, run: UUID) -> None:
        """Left to come to its end, without its rests."""
        async with asyncio.timeout(WITHIN_S):
            while await self.inspector.fetchval(GOING, run):
                await self.inspector.execute(RESTED)
                await asyncio.sleep(LOOK_S)

    async def synced(self, source_id: str) -> None:
        await self.ended(await self.sync(source_id))
        source = (await self.clients["partner"].get(f"/v1/knowledge/sources/{source_id}")).json()
        assert (source["state"], source.get("failure")) == ("idle", None)


@asynccontextmanager
async def site(database: Database, inspector: Connection, more: Mapping[str, str | int]) -> AsyncGenerator[Site]:
    async with (
        FakeOpenAI(brain=lambda _: Turn(text="Nobody asks.")) as model,
        replicas(database, model.base_url) as started,
        started.running(more=more) as server,
        AsyncExitStack() as stack,
    ):
        clients = {who: await stack.enter_async_context(server.client(who)) for who in MEMBERS}
        made = Site(started, stack, clients, inspector, more)
        await made.kill()
        yield made


def settings_for(made: Firm, folder: Path) -> Mapping[str, str | int]:
    """The operator's file, with the account of one firm."""
    credentials = folder / "robot.json"
    credentials.write_text(robot_credentials(made.drive.token_url))
    config = folder / "system.yaml"
    account = {"name": "office", "organization": "firm-1", "file": str(credentials)}
    # JSON is YAML.
    config.write_bytes(orjson.dumps({"sources": {"google_accounts": [account]}}))
    return {"system_config_path": str(config), "drive_api_url": made.drive.url, "embedding_model": "none"}


async def worked_on(made: Firm, edits: int, over: asyncio.Event) -> None:
    """What people do meanwhile."""
    for _ in range(edits):
        made.edit()
        await asyncio.sleep(made.chance.random() * 0.3)
        if over.is_set():
            return


async def test_in_the_end_the_documents_are_what_is_on_the_drive_and_nobody_sees_more_of_it_than_there(
    database: Database, owner_connection: Connection, superuser_connection: Connection, tmp_path: Path
) -> None:
    await seed_firms(owner_connection)
    await owner_connection.execute(AUTONOMY)
    await superuser_connection.execute("SET session_replication_role = replica")
    await superuser_connection.execute(NOTHING_GOES_ON)
    made = firm(files=FILES, folders=FILES // 6, page=13 if FILES < 500 else 100, people=PEOPLE)
    made.drive.every = {
        17: Refused(403, "userRateLimitExceeded"),
        29: Refused(503, "backendError"),
        41: Refused(429, "rateLimitExceeded", {"Retry-After": "1"}),
    }
    made.drive.uses_of_a_token = 50
    with served_drive(made.drive):
        async with site(database, superuser_connection, settings_for(made, tmp_path)) as at:
            source_id = await added(at, made.root)
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                working = group.create_task(worked_on(made, 30 + FILES // 10, over))
                run = await at.sync(source_id)
                for _ in range(KILLS):
                    before = cast(int, await superuser_connection.fetchval(STEPS))
                    await reaches(at, run, before + at.chance.randint(0, 4))
                    await at.kill()
                    if not await superuser_connection.fetchval(GOING, run):
                        run = await at.sync(source_id)
                await at.ended(run)
                await working
            await at.synced(source_id)
            await assert_equal(at, made, source_id)
            await assert_nobody_sees_more(at, made, source_id)

            for _ in range(20 + FILES // 50):
                made.edit()
            await at.synced(source_id)
            await assert_equal(at, made, source_id)
            await assert_nobody_sees_more(at, made, source_id)


async def added(at: Site, folder_id: str) -> str:
    asked = {"kind": "google_drive", "name": "Audit", "settings": {"folder_id": folder_id}}
    answer = await at.clients["partner"].post("/v1/knowledge/sources", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["source_id"])


async def reaches(at: Site, run: UUID, steps: int) -> None:
    """So many steps, or the end of the run."""
    async with asyncio.timeout(WITHIN_S):
        while await at.inspector.fetchval(STEPS) < steps and await at.inspector.fetchval(GOING, run):
            await at.inspector.execute(RESTED)
            await asyncio.sleep(LOOK_S / 4)


async def assert_equal(at: Site, made: Firm, source_id: str) -> None:
    """Each file of the folder is one document with its content, under its name there; and there is no other."""
    async with asyncio.timeout(WITHIN_S):
        while await at.inspector.fetchval(UNREAD, UUID(source_id)):
            await at.inspector.execute(RESTED)
            await asyncio.sleep(LOOK_S)
    rows = await at.inspector.fetch(HELD, UUID(source_id))
    there = made.drive.readable(made.root)
    assert {row["item_key"]: bytes(row["content_sha256"]) for row in rows} == {
        key: sha256(content).digest() for key, (_, _, content) in there.items()
    }
    assert {row["item_key"]: row["path"] for row in rows} == {
        key: "/".join(name.replace("/", "_") for name in names_of(made, key)) for key in there
    }
    assert {row["status"] for row in rows} <= {"ready"}
    assert await at.inspector.fetchval(CURRENT, UUID(source_id)) == len(there)


def names_of(made: Firm, key: str) -> list[str]:
    names: list[str] = []
    for item in made.drive.chain(key):
        if item.id == made.root:
            break
        names.append(item.name)
    return names[::-1]


async def assert_nobody_sees_more(at: Site, made: Firm, source_id: str) -> None:
    """Each member lists, finds and reads what Drive shows to that address, all of it, and nothing else of the Drive."""
    rows = {row["item_key"]: str(row["document_id"]) for row in await at.inspector.fetch(HELD, UUID(source_id))}
    there = made.drive.readable(made.root)
    for who in MEMBERS:
        address = f"{who}@firm-1.example"
        # A client reads by its engagement alone, whatever Drive shows to the address.
        shown = {rows[key] for key, (_, readers, _) in there.items() if address in readers and who != "client"}
        hidden = set(rows.values()) - shown
        client = at.clients[who]
        assert await listed(client) & set(rows.values()) == shown, who
        asked = at.chance.sample(sorted(there), min(25, len(there)))
        for key in asked:
            words = there[key][2].decode()
            found = await searched(client, words)
            assert not found & hidden, (who, words)
            if rows[key] in shown:
                assert rows[key] in found, (who, words)
            answer = await client.get(f"/v1/knowledge/documents/{rows[key]}")
            assert answer.status_code == (200 if rows[key] in shown else 404), (who, key)


async def listed(client: httpx.AsyncClient) -> set[str]:
    found: set[str] = set()
    cursor: str | None = None
    while True:
        asked: dict[str, str | int] = {"limit": 100, **({} if cursor is None else {"cursor": cursor})}
        page = cast(Json, (await client.get("/v1/knowledge/documents", params=asked)).json())
        found |= {str(item["document_id"]) for item in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def searched(client: httpx.AsyncClient, words: str) -> set[str]:
    query = " ".join(re.findall(r"\w+", words))
    answer = await client.post("/v1/knowledge/search", json={"query": query, "limit": 20})
    assert answer.status_code == 200, answer.text
    items = cast(Json, answer.json())["items"]
    return {str(item["document_id"]) for item in items} | {
        str(other["document_id"]) for item in items for other in item.get("also_in", [])
    }
