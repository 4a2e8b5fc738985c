"""What sealing costs calls, whether it keeps up, and how long a stranger takes to check a million events.

`--events 20000` for a look. Sealing is held off, in passes beside it, by the very lock that lets one sealer work at a
time; the index that sealing reads by is taken away within a transaction that is rolled back.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from uuid import uuid4

import orjson

from benchmarks.chat_turn import launched_ours
from benchmarks.load import drive
from benchmarks.mcp_call import MODERN, TITLE, McpDoor
from benchmarks.processes import Launched, cpu_s, machine, pin_this_process
from benchmarks.stage import SLUG, Home, fake_model, fresh_home, organization_id, person_id, postmaster
from benchmarks.stage import USERS as PEOPLE
from domain.kernel import OrganizationId, PrincipalId, utc_now
from domain.ledger.lines import head_line
from domain.ledger.model import Head, Statement, canonical
from domain.ledger.tree import Frontier
from domain.resources import resource_folder
from server.database.connection import Connection, connected
from server.database.embedded import EmbeddedServer
from server.database.pool import open_pools
from server.database.sealer import PostgresSealer
from server.database.unit_of_work import PostgresTransactions
from server.exports import exported
from server.signing import LedgerKey
from tools.workflows import Workflows

USERS = 16
PASSES = 7
CALLS = 25
"""Of each user in a pass."""
LAGS = 20
FEW = 100_000
"""Events that are checked where every benchmark is run."""
EVENTS_A_HEAD = (1000, 10, 1)
"""In the exports that are checked: the sealer's batch at its largest, a busy second, a quiet one."""
ROWS = 20_000
"""Inserted in a pass with the index and in one without."""
HOLD = "SELECT pg_advisory_lock(hashtextextended('glow.sealing', 0))"
LET_GO = "SELECT pg_advisory_unlock_all()"
UNSEALED = """
SELECT count(*) FROM activity_events e WHERE NOT EXISTS (
    SELECT FROM ledger_leaves l WHERE l.organization_id = e.organization_id AND l.event_id = e.event_id)
"""
# Like a read's one event, digests and facts of the size that they have.
SEED = """
INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, call_id, tool, effect, door,
    principal_id, principal_kind, role, mode, attended, level, facts, decision, reasons, manifest_digest, policy_digest,
    arguments_digest, result_digest, outcome, duration_ms, conversation_id, run_id, trace_id)
SELECT $1, gen_random_uuid(), 'tool.completed', true, now(), gen_random_uuid(), 'task_list', 'read', 'chat', $2,
    'person', 'PARTNER', 'agent', true, 2, coalesce($3, '{}'), 'allow', '{within_role_and_autonomy}',
    sha256('manifest'), sha256('policy'), sha256(n::text::bytea), sha256(n::text::bytea), 'done', 3.25,
    gen_random_uuid(), gen_random_uuid(), '4bf92f3577b34da6a3ce929d0e0e4736'
FROM generate_series(1, $4) n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a call in one pass."""

    server_ms: float
    postgres_ms: float
    p50_ms: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    measure_and_print(parser.parse_args().events)


def measure_and_print(events: int) -> None:
    """All of it; `events`: how many are sealed, exported and checked at the end."""
    pinned = pin_this_process()
    print(f"\nledger on {machine()}{'' if pinned else '; NOT PINNED: there are no two cores to part'}", flush=True)
    with fresh_home() as home, home.database() as server:
        with fake_model() as model_url, launched_ours(home, model_url) as ours:
            for line in asyncio.run(_beside_calls(home, server, ours)):
                print(line, flush=True)
        for line in asyncio.run(_verified(home, server, events)):
            print(line, flush=True)


async def _beside_calls(home: Home, server: EmbeddedServer, ours: Launched) -> Sequence[str]:
    async with connected(server.dsn("postgres")) as inspector:
        read = await _calls(home, server, ours, inspector, "task_list", {"limit": 1})
        write = await _calls(home, server, ours, inspector, "task_create", TITLE)
        alone = await _lag_ms(inspector)
        async with _long_transaction(server):
            beside = await _lag_ms(inspector)
        index = await _index_us(server, inspector)
    return [
        "",
        "### A call with the sealer at work, and with it held off",
        "",
        "| | sealing | held off | ratio |",
        "| --- | ---: | ---: | ---: |",
        *_compared("reading", read),
        *_compared("writing", write),
        "",
        "### What else",
        "",
        "| | |",
        "| --- | ---: |",
        f"| PostgreSQL's CPU for an event, us: its entry in the index / all of it | {index[0]:.1f} / {index[1]:.1f} |",
        f"| from a commit to its sealing, median ms | {alone:.0f} |",
        f"| the same while a transaction is open in another database | {beside:.0f} |",
    ]


def _compared(name: str, costs: tuple[Sequence[Cost], Sequence[Cost]]) -> Sequence[str]:
    measures: Sequence[tuple[str, Callable[[Cost], float]]] = (
        ("server CPU, ms a call", lambda cost: cost.server_ms),
        ("PostgreSQL's CPU, ms a call", lambda cost: cost.postgres_ms),
        ("p50, ms", lambda cost: cost.p50_ms),
    )
    lines: list[str] = []
    for what, measure in measures:
        sealing, held = (median(measure(cost) for cost in each) for each in costs)
        lines.append(f"| {name}: {what} | {sealing:.2f} | {held:.2f} | {sealing / held:.2f} |")
    return lines


async def _calls(
    home: Home,
    server: EmbeddedServer,
    ours: Launched,
    inspector: Connection,
    tool: str,
    arguments: Mapping[str, object],
) -> tuple[Sequence[Cost], Sequence[Cost]]:
    """Pass after pass in turn: with the sealer at work, what it left before sealed already, and with it held off."""
    tokens = [home.token(person, "mcp") for person in range(PEOPLE)]
    sign = b'"outcome":"done"'
    door = McpDoor(url=ours.url, revision=MODERN, tool=tool, arguments=arguments, sign=sign, tokens=tokens)
    sealing: list[Cost] = []
    held: list[Cost] = []
    await drive(door, "", users=USERS, turns=CALLS)
    for _ in range(PASSES):
        await _sealed(inspector)
        sealing.append(await _pass(door, server, ours))
        await inspector.execute(HOLD)
        try:
            held.append(await _pass(door, server, ours))
        finally:
            await inspector.execute(LET_GO)
    return sealing, held


async def _pass(door: McpDoor, server: EmbeddedServer, ours: Launched) -> Cost:
    postgres = postmaster(server)
    server_before, postgres_before = cpu_s(ours.process), cpu_s(postgres)
    taken = await drive(door, "", users=USERS, turns=CALLS)
    return Cost(
        server_ms=(cpu_s(ours.process) - server_before) * 1000 / len(taken),
        postgres_ms=(cpu_s(postgres) - postgres_before) * 1000 / len(taken),
        p50_ms=median(taken) * 1000,
    )


async def _sealed(inspector: Connection) -> None:
    """Asks until nothing is left to be sealed."""
    while True:
        if not await inspector.fetchval(UNSEALED):
            return
        await asyncio.sleep(0.01)


async def _lag_ms(inspector: Connection) -> float:
    """From the commit of one event to its leaf."""
    lags: list[float] = []
    for _ in range(LAGS):
        await _sealed(inspector)
        await inspector.execute(SEED, organization_id(), person_id(0), None, 1)
        began = time.monotonic()
        await _sealed(inspector)
        lags.append((time.monotonic() - began) * 1000)
    return median(lags)


@asynccontextmanager
async def _long_transaction(server: EmbeddedServer) -> AsyncGenerator[None]:
    """Open in another database of the same PostgreSQL for the length of the block."""
    server.superuser("CREATE DATABASE elsewhere")
    other = server.dsn("postgres").rpartition("/")[0] + "/elsewhere"
    async with connected(other) as elsewhere, elsewhere.transaction():
        await elsewhere.fetchval("SELECT pg_current_xact_id()")
        yield


async def _index_us(server: EmbeddedServer, inspector: Connection) -> tuple[float, float]:
    """PostgreSQL's CPU for an event's entry in the index, and for all of the event."""
    await inspector.execute(HOLD)
    withs: list[float] = []
    withouts: list[float] = []
    postgres = postmaster(server)
    try:
        for _ in range(PASSES):
            for costs, first in ((withs, "SELECT 1"), (withouts, "DROP INDEX activity_events_sealing")):
                transaction = inspector.transaction()
                await transaction.start()
                await inspector.execute(first)
                before = cpu_s(postgres)
                await inspector.execute(SEED, organization_id(), person_id(0), None, ROWS)
                costs.append((cpu_s(postgres) - before) * 1e6 / ROWS)
                await transaction.rollback()
    finally:
        await inspector.execute(LET_GO)
    return median(withs) - median(withouts), median(withs)


async def _verified(home: Home, server: EmbeddedServer, events: int) -> Sequence[str]:
    """So many events in one transaction, sealed, exported, and checked by the file for strangers."""
    path, postgres = home.folder / "export.ndjson", postmaster(server)
    async with connected(server.dsn("postgres")) as inspector, open_pools(server.urls()) as pools:
        facts = await inspector.fetchval("SELECT facts FROM activity_events WHERE tool = 'task_list' LIMIT 1")
        await inspector.execute("SET statement_timeout = 0")
        await inspector.execute(SEED, organization_id(), person_id(0), facts, events, timeout=3600)
        began, before, own = time.monotonic(), cpu_s(postgres), time.process_time()
        sealer = PostgresSealer(pools.service, LedgerKey(uuid4().bytes * 2))
        while await sealer.seal():
            pass
        spent = (time.monotonic() - began, cpu_s(postgres) - before, time.process_time() - own)
        size = int(await inspector.fetchval("SELECT max(size) FROM ledger_heads"))
        transactions = PostgresTransactions(pools.app, Workflows(()))
        opening = partial(transactions.session, OrganizationId(organization_id()), PrincipalId(person_id(0)))
        asked = {"size": size, "payloads": False}
        await _write(path, exported(opening, OrganizationId(organization_id()), asked, utc_now()))
    cpus = {events_a_head: _verified_cpu_s(path, events_a_head) for events_a_head in EVENTS_A_HEAD}
    sealing = " / ".join(f"{seconds * 1e6 / events:.0f}" for seconds in spent)
    return [
        "",
        f"### {size} events of {SLUG}, {events} of them of one transaction",
        "",
        "| | |",
        "| --- | ---: |",
        f"| sealed, us an event: elapsed / PostgreSQL's CPU / the sealer's | {sealing} |",
        f"| the export, MB | {path.stat().st_size / 1e6:.0f} |",
        *(
            f"| audit/verify.py, {number} events a head, CPU s for a million events; must 30 | {cpu * 1e6 / size:.1f} |"
            for number, cpu in cpus.items()
        ),
    ]


async def _write(path: Path, lines: AsyncGenerator[bytes]) -> None:
    with path.open("wb") as file:
        async for some in lines:
            file.write(some)


def _verified_cpu_s(path: Path, events_a_head: int) -> float:
    """Of checking the export as if a head had been signed after each so many events, and after the last."""
    headed = path.with_suffix(f".{events_a_head}")
    key, frontier, size = LedgerKey(uuid4().bytes * 2), Frontier(), 0
    with path.open("rb") as lines, headed.open("wb") as file:
        for raw in lines:
            line = orjson.loads(raw)
            if line["type"] == "key":
                raw = canonical(line | {"key_id": key.key_id, "public_key": key.public_key.hex()}) + b"\n"
            size = line["size"] if line["type"] == "ledger" else size
            if line["type"] != "head":
                file.write(raw)
            if line["type"] == "event":
                frontier.append(bytes.fromhex(line["leaf"]))
                if frontier.size % events_a_head == 0 or frontier.size == size:
                    file.write(_signed(key, frontier, bytes.fromhex(line["chain"])))
    cpu = median(_verify(headed) for _ in range(3))
    headed.unlink()
    return cpu


def _signed(key: LedgerKey, frontier: Frontier, chain: bytes) -> bytes:
    statement = Statement(
        organization_id=OrganizationId(organization_id()),
        size=frontier.size,
        root=frontier.root,
        chain=chain,
        sealed_at=utc_now(),
        key_id=key.key_id,
    )
    return head_line(Head(statement=statement, signature=key.sign(statement.signed_bytes())))


def _verify(path: Path) -> float:
    """CPU seconds of a process that does nothing else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(resource_folder("audit") / "verify.py"), str(path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert told.stdout.startswith("Holds"), told.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
