"""The worker is killed again and again during ingestion and during a re-embed: no passage is doubled or lost.

Meanwhile a search never comes out empty. `make test` does it a few times; `make ingestion-killed` for long:
GLOW_TEST_INGESTION_KILLS is how often, of each.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import httpx
import pytest

from knowledge.prepare import PreparedDocument, prepare_document
from server.database.connection import Connection
from tests.support.database import Database
from tests.support.fake_embeddings import served_embeddings
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Turn
from tests.support.firms import seed_firms
from tests.support.replicas import Replica, Replicas, replicas

KILLS = int(os.environ.get("GLOW_TEST_INGESTION_KILLS", "3"))
WITHIN_S = 240 + 10 * KILLS
LOOK_S = 0.02
MODEL, OTHER_MODEL = "text-embedding-3-small", "text-embedding-ada-002"

pytestmark = pytest.mark.timeout(600 + 20 * KILLS)

PAPERS = {
    name: "\n\n".join(
        f"## {name} {n}\n\nThe automobile number {n} of {name} is insured for a year, and paid for in the month after."
        for n in range(300)
    ).encode()
    for name in ("alpha.md", "beta.md")
}
# A worker that was killed is known by its silence.
SILENT = "UPDATE queue.pgqueuer SET heartbeat = heartbeat - interval '1 minute'"
RESTED = "UPDATE queue.pgqueuer SET execute_after = now() WHERE status = 'queued' AND execute_after > now()"
EVENTS = "SELECT count(*) FROM activity_events WHERE tool IN ('document_index', 'document_embed')"
NOTHING_GOES_ON = """
UPDATE task_run_progress SET status = 'completed', finished_at = now();
UPDATE runs SET status = 'completed', finished_at = now();
DELETE FROM knowledge_staged;
"""
UNFINISHED = """
SELECT count(*) FROM knowledge_documents d
WHERE d.document_id = ANY ($1)
  AND (d.status <> 'ready' OR d.prepared_as <> $2 OR d.embedding_model <> $3
       OR EXISTS (SELECT FROM knowledge_staged s WHERE s.document_id = d.document_id))
"""
CHUNKS = """
SELECT c.ordinal, c.start_offset, c.end_offset, c.text,
       (SELECT count(*) FROM knowledge_embeddings e WHERE e.chunk_id = c.chunk_id AND e.model = $2) AS vectors,
       (SELECT sum(p.frequency) FROM knowledge_postings p WHERE p.chunk_id = c.chunk_id) AS terms
FROM knowledge_chunks c WHERE c.document_id = $1 ORDER BY c.ordinal
"""


@dataclass(slots=True)
class Site:
    """A server that takes no jobs, and one worker at a time."""

    started: Replicas
    stack: AsyncExitStack
    client: httpx.AsyncClient
    inspector: Connection
    chance: random.Random = field(default_factory=lambda: random.Random(KILLS))
    worker: Replica | None = None
    settings: Mapping[str, str | int] = field(default_factory=dict[str, str | int])

    async def works(self, settings: Mapping[str, str | int]) -> None:
        """Have a worker with these settings, and none that has others."""
        self.settings = settings
        await self.kill()

    async def kill(self) -> None:
        """Kill the worker wherever it is, and have another who finds what it had in hand."""
        if self.worker is not None:
            self.worker.signal(signal.SIGKILL)
        await self.inspector.execute(SILENT)
        self.worker = await self.stack.enter_async_context(self.started.running("worker", more=self.settings))

    async def killed_on_the_way(self, documents: Mapping[str, UUID], prepared_as: str, model: str) -> None:
        """So many times, each time somewhere further on or before the next step; then left to come to its end."""
        kills = KILLS
        async with asyncio.timeout(WITHIN_S):
            while await self.inspector.fetchval(UNFINISHED, list(documents.values()), prepared_as, model):
                seen = await self.inspector.fetchval(EVENTS)
                await self.reaches(seen + self.chance.randint(1, 4), documents, prepared_as, model)
                if kills:
                    kills -= 1
                    await self.kill()
                await self.inspector.execute(RESTED)

    async def reaches(self, events: int, documents: Mapping[str, UUID], prepared_as: str, model: str) -> None:
        while await self.inspector.fetchval(EVENTS) < events:
            if not await self.inspector.fetchval(UNFINISHED, list(documents.values()), prepared_as, model):
                return
            await self.inspector.execute(RESTED)
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def site(database: Database, inspector: Connection, more: Mapping[str, str | int]) -> AsyncGenerator[Site]:
    async with (
        FakeOpenAI(brain=lambda _: Turn(text="Nobody asks.")) as model,
        replicas(database, model.base_url) as started,
        started.running(more=more) as server,
        server.client() as client,
        AsyncExitStack() as stack,
    ):
        yield Site(started=started, stack=stack, client=client, inspector=inspector)


async def searched_all_the_while(client: httpx.AsyncClient, documents: Mapping[str, UUID], over: asyncio.Event) -> int:
    """How often a search found both documents; fails at the first that does not."""
    count = 0
    while not over.is_set():
        for name, document_id in documents.items():
            asked = {"query": "automobile insured", "limit": 5, "filters": {"document_id": str(document_id)}}
            answer = await client.post("/v1/knowledge/search", json=asked)
            assert answer.status_code == 200, answer.text
            assert answer.json()["items"], (name, count)
        count += 1
    return count


async def test_ingestion_and_re_embedding_come_out_as_if_undisturbed_and_search_is_never_empty(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    await superuser_connection.execute("SET session_replication_role = replica")
    await superuser_connection.execute(NOTHING_GOES_ON)
    with served_embeddings() as server:
        old: dict[str, str | int] = {"embedding_base_url": server.url, "embedding_model": MODEL, "chunk_tokens": 320}
        new: dict[str, str | int] = {**old, "embedding_model": OTHER_MODEL, "chunk_tokens": 64}
        async with site(database, superuser_connection, old) as at:
            documents = {name: await uploaded(at.client, name, content) for name, content in PAPERS.items()}
            await at.works(old)
            await at.killed_on_the_way(documents, "1/320", MODEL)
            for name, document_id in documents.items():
                await assert_undisturbed(superuser_connection, name, document_id, 320, MODEL)

            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                searching = group.create_task(searched_all_the_while(at.client, documents, over))
                await at.works(new)
                await at.killed_on_the_way(documents, "1/64", OTHER_MODEL)
                over.set()
            assert searching.result() > 0
            for name, document_id in documents.items():
                await assert_undisturbed(superuser_connection, name, document_id, 64, OTHER_MODEL)


async def uploaded(client: httpx.AsyncClient, name: str, content: bytes) -> UUID:
    answer = await client.post("/v1/knowledge/documents", files={"file": (name, content)})
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["items"][0]["document_id"])


async def assert_undisturbed(inspector: Connection, name: str, document_id: UUID, budget: int, model: str) -> None:
    """Each passage is there once, with its words and one vector, as one reading of the file gives it."""
    wanted = prepared(name, budget)
    rows = await inspector.fetch(CHUNKS, document_id, model)
    assert [tuple(row) for row in rows] == [
        (each.chunk.ordinal, each.chunk.start, each.chunk.end, each.chunk.text, 1, each.length)
        for each in wanted.chunks
    ]


def prepared(name: str, budget: int) -> PreparedDocument:
    return prepare_document(PAPERS[name], title=name, media_type="text/markdown", budget=budget)
