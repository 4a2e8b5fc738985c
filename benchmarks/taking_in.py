"""A small document from its upload until it is found by its words and by its meaning, beside the obvious way."""

import asyncio
import time
from dataclasses import dataclass
from itertools import count
from statistics import median

import aiohttp

from benchmarks.chat_turn import launched_by_hand, launched_ours
from benchmarks.ingest import paragraphs
from benchmarks.load import WrongAnswer
from benchmarks.processes import Launched, cpu_s, machine, pin_this_process
from benchmarks.stage import Home, by_hand_database, fresh_home
from benchmarks.tally import Row, Target, table
from tests.support.fake_embeddings import served_embeddings

PASSES = 5
DOCUMENTS = 20
"""In each pass, one after the other."""
BYTES = 2_000
MODEL = "text-embedding-3-small"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where documents are brought, and what the answer says once it is found."""

    running: Launched
    path: str
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass took."""

    seconds: float
    """The median document's."""
    cpu_ms: float
    """The server's, a document."""


def main() -> None:
    """Measure and print."""
    pin_this_process()
    print(f"\ntaking_in on {machine()}", flush=True)
    print(f"\n{table('A text document of 2 kB, end to end', measure())}", flush=True)


def measure() -> list[Row]:
    """The benchmark's table: both servers embed by the same fake, which takes its time for each text."""
    ours, floor = list[Pass](), list[Pass]()
    with fresh_home() as home, served_embeddings() as embeddings, home.database() as server:
        url = by_hand_database(server)
        server.superuser("CREATE EXTENSION vector", database="by_hand")
        told = {"GLOW_EMBEDDING_BASE_URL": embeddings.url, "GLOW_EMBEDDING_MODEL": MODEL}
        with (
            launched_ours(home, embeddings.url, told) as own,
            launched_by_hand(home, embeddings.url, {"DATABASE_URL": url}, "taking_in") as by_hand,
        ):
            doors = (_ours(home, own), Door(running=by_hand, path="/documents"))
            asyncio.run(_both(doors, list[Pass](), list[Pass]()))
            for _ in range(PASSES):
                asyncio.run(_both(doors, ours, floor))
    return _rows(ours, floor)


def _ours(home: Home, running: Launched) -> Door:
    return Door(running=running, path="/v1/knowledge/documents?wait=true", token=home.token(0))


async def _both(doors: tuple[Door, Door], ours: list[Pass], floor: list[Pass]) -> None:
    for door, passes in zip(doors, (ours, floor), strict=True):
        passes.append(await _passed(door))


async def _passed(door: Door) -> Pass:
    headers = {"Authorization": f"Bearer {door.token}"} if door.token else {}
    took: list[float] = []
    before = cpu_s(door.running.process)
    async with aiohttp.ClientSession(door.running.url, headers=headers) as session:
        for _ in range(DOCUMENTS):
            began = time.perf_counter()
            await _brought(session, door.path, _document())
            took.append(time.perf_counter() - began)
    spent = cpu_s(door.running.process) - before
    return Pass(seconds=median(took), cpu_ms=spent * 1_000 / DOCUMENTS)


_NUMBERS = count()


def _document() -> bytes:
    """No two are alike: the same content would be stored, and embedded, once."""
    text = f"Note {next(_NUMBERS)}\n\n" + "\n\n".join(paragraphs(BYTES // 200))
    return text.encode()[:BYTES]


async def _brought(session: aiohttp.ClientSession, path: str, content: bytes) -> None:
    form = aiohttp.FormData()
    form.add_field("files", content, filename="note.txt", content_type="text/plain")
    async with session.post(path, data=form) as answer:
        told = await answer.text()
        if answer.status != 201 or ("items" in told and '"status":"ready"' not in told):
            raise WrongAnswer(f"{path} answered {answer.status}: {told}")


def _rows(ours: list[Pass], floor: list[Pass]) -> list[Row]:
    return [
        Row(
            name="from the upload until it is found",
            unit="s",
            ours=median(each.seconds for each in ours),
            floor=median(each.seconds for each in floor),
            target=Target(of="figure", must=0.3, aim=0.1),
        ),
        Row(
            name="server CPU",
            unit="ms a document",
            ours=median(each.cpu_ms for each in ours),
            floor=median(each.cpu_ms for each in floor),
        ),
    ]


if __name__ == "__main__":
    main()
