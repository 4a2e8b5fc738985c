"""A chat turn: the model asks for one tool, the tool runs, 50 tokens stream. Ours beside the obvious stack by hand."""

import asyncio
import os
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from statistics import median

import psutil

from benchmarks import model
from benchmarks.load import Asks, ChatDoor, drive
from benchmarks.processes import Launched, cpu_s, glow, launched, machine, pin_this_process
from benchmarks.stage import (
    USERS,
    Home,
    by_hand_database,
    fake_model,
    free_port,
    fresh_home,
    postmaster,
)
from benchmarks.tally import Row, Target, added_ms, table, writing_transactions
from server.database.embedded import EmbeddedServer
from server.logins import Login

PASSES = 5
AT_ONCE_TURNS = 15
"""Of each user in a pass, with the model that answers at once."""
PACED_TURNS = 3
WARM_UP_TURNS = 4

OURS, BY_HAND, BY_HAND_STORED, MODEL = "ours", "by hand", "by hand with PostgreSQL", "the model alone"
OURS_RESPONSES, BY_HAND_RESPONSES = "ours, responses", "by hand, responses"
RESPONSES = {"GLOW_MODEL_API": "responses"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something that takes turns; without a process it is the model itself."""

    name: str
    asked: Asks
    process: psutil.Process | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass over one contender cost."""

    server_ms: float
    """CPU a turn of the server's whole process tree."""
    postgres_ms: float
    """CPU a turn of PostgreSQL's."""
    turns: list[float]
    """Seconds of each turn."""


Passes = Mapping[str, list[Pass]]


def main() -> None:
    """Measure and print."""
    pinned = pin_this_process()
    print(f"chat_turn on {machine()}{'' if pinned else '; NOT PINNED: there are no two cores to part'}", flush=True)
    for title, rows in chain(measure(), measure_apis()):
        print(f"\n{table(title, rows)}", flush=True)


def measure() -> Iterator[tuple[str, list[Row]]]:
    """The benchmark's tables, each as soon as it is there."""
    pace = f"{model.FIRST_TOKEN_S * 1000:.0f} ms to the first token and {model.PER_TOKEN_S * 1000:.0f} ms a token"
    with fresh_home() as home, home.database() as server, fake_model() as model_url:
        with _contenders(home, server, model_url) as contenders:
            at_once = _interleaved(contenders, server, model.AT_ONCE, AT_ONCE_TURNS)
            yield f"A chat turn, the model answers at once, {USERS} users", _cost_rows(at_once)
            paced = _interleaved(contenders, server, model.PACED, PACED_TURNS)
            rows = [*_latency_rows(paced), *_cost_rows(paced, targets=False)]
            yield f"A chat turn, {pace}, {USERS} users", rows
        counted = _count_transactions(home, server, model_url)
        yield f"What a chat turn commits, {pace}, {USERS} users", counted


def measure_apis() -> Iterator[tuple[str, list[Row]]]:
    """A turn by either model API, each beside its own floor, all in one run."""
    with fresh_home() as home, home.database() as server, fake_model() as model_url, ExitStack() as stack:
        ours = stack.enter_context(launched_ours(home, model_url))
        ours_responses = stack.enter_context(launched_ours(home, model_url, RESPONSES))
        by_hand = stack.enter_context(launched_by_hand(home, model_url, {}))
        by_hand_responses = stack.enter_context(launched_by_hand(home, model_url, {}, "by_hand_responses"))
        contenders = [
            Contender(name=OURS, asked=our_door(home, ours.url), process=ours.process),
            Contender(name=BY_HAND, asked=_by_hand_door(by_hand.url), process=by_hand.process),
            Contender(name=OURS_RESPONSES, asked=our_door(home, ours_responses.url), process=ours_responses.process),
            Contender(
                name=BY_HAND_RESPONSES, asked=_by_hand_door(by_hand_responses.url), process=by_hand_responses.process
            ),
        ]
        passes = _interleaved(contenders, server, model.AT_ONCE, AT_ONCE_TURNS)
    apis = (("Chat Completions", OURS, BY_HAND), ("Responses", OURS_RESPONSES, BY_HAND_RESPONSES))
    rows = [_api_row(api, passes[own], passes[floor]) for api, own, floor in apis]
    yield f"A chat turn by either model API, the model answers at once, {USERS} users", rows


def _api_row(api: str, own: list[Pass], floor: list[Pass]) -> Row:
    return Row(
        name=f"{api}: server CPU, beside the same by hand without a database",
        unit="ms a turn",
        ours=median(each.server_ms for each in own),
        floor=median(each.server_ms for each in floor),
        target=Target(of="ratio", must=0.4, aim=0.2),
    )


@contextmanager
def _contenders(home: Home, server: EmbeddedServer, model_url: str) -> Generator[list[Contender]]:
    """All of them running side by side; only one is asked at a time."""
    stored = {"DATABASE_URL": by_hand_database(server)}
    with ExitStack() as stack:
        ours = stack.enter_context(launched_ours(home, model_url))
        by_hand = stack.enter_context(launched_by_hand(home, model_url, {}))
        by_hand_stored = stack.enter_context(launched_by_hand(home, model_url, stored))
        yield [
            Contender(name=OURS, asked=our_door(home, ours.url), process=ours.process),
            Contender(name=BY_HAND, asked=_by_hand_door(by_hand.url), process=by_hand.process),
            Contender(name=BY_HAND_STORED, asked=_by_hand_door(by_hand_stored.url), process=by_hand_stored.process),
            Contender(name=MODEL, asked=model.Bare(base_url=model_url)),
        ]


@contextmanager
def launched_ours(home: Home, model_url: str, variables: Mapping[str, str] | None = None) -> Generator[Launched]:
    """Our server, on the home's database and the fake model."""
    port = free_port()
    told = {**home.variables(model_url), **(variables or {})}
    with launched(glow("serve", "--port", str(port)), told, port, home.log(f"ours-{port}")) as running:
        yield running


@contextmanager
def launched_by_hand(
    home: Home, model_url: str, variables: Mapping[str, str], module: str = "by_hand"
) -> Generator[Launched]:
    """The floor, told by its environment where model and database are."""
    port = free_port()
    app = ("-m", "uvicorn", f"benchmarks.floors.{module}:app", "--port", str(port))
    told = {
        "OPENAI_BASE_URL": model_url,
        "OPENAI_API_KEY": "none",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **variables,
    }
    with launched((sys.executable, *app), told, port, home.log("by-hand")) as running:
        yield running


def our_door(home: Home, url: str) -> ChatDoor:
    """Our chat door. The words stand in its answer twice: as they came, and whole."""
    return ChatDoor(
        url=f"{url}/v1/chat",
        headers=[{"Authorization": f"Bearer {home.token(user)}"} for user in range(USERS)],
        word=b"word ",
        words=2 * model.WORDS,
        signs=(b"Benchmark task 9", b"event: run.completed"),
    )


def _by_hand_door(url: str) -> ChatDoor:
    return ChatDoor(
        url=f"{url}/chat",
        headers=[dict[str, str]()] * USERS,
        word=b"word ",
        words=model.WORDS,
        signs=(b"Benchmark task 9", b"event: done"),
    )


def _interleaved(contenders: list[Contender], server: EmbeddedServer, message: str, turns: int) -> Passes:
    """Pass after pass over all contenders, so that what else the machine does falls on each alike."""
    measured: dict[str, list[Pass]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        asyncio.run(drive(contender.asked, model.AT_ONCE, users=USERS, turns=WARM_UP_TURNS))
    for _ in range(PASSES):
        for contender in contenders:
            measured[contender.name].append(_pass(contender, server, message, turns))
    return measured


def _pass(contender: Contender, server: EmbeddedServer, message: str, turns: int) -> Pass:
    postgres = postmaster(server)
    server_before, postgres_before = _spent(contender), cpu_s(postgres)
    taken = asyncio.run(drive(contender.asked, message, users=USERS, turns=turns))
    count = len(taken)
    return Pass(
        server_ms=(_spent(contender) - server_before) * 1000 / count,
        postgres_ms=(cpu_s(postgres) - postgres_before) * 1000 / count,
        turns=taken,
    )


def _spent(contender: Contender) -> float:
    return 0.0 if contender.process is None else cpu_s(contender.process)


def _count_transactions(home: Home, server: EmbeddedServer, model_url: str) -> list[Row]:
    """Writing transactions by login, counted in PostgreSQL's own log of every statement, in a pass of its own."""
    logins = (Login.APP, Login.RECORDER, Login.SERVICE)
    for login in logins:
        server.superuser(f"ALTER ROLE {login} SET log_min_duration_statement = 0")
    with launched_ours(home, model_url) as ours:
        door = our_door(home, ours.url)
        asyncio.run(drive(door, model.PACED, users=USERS, turns=1))
        begun = server.cluster.log.stat().st_size
        taken = asyncio.run(drive(door, model.PACED, users=USERS, turns=PACED_TURNS))
        with server.cluster.log.open("rb") as file:
            file.seek(begun)
            written = file.read().decode(errors="replace")
    for login in logins:
        server.superuser(f"ALTER ROLE {login} RESET log_min_duration_statement")
    by_login = writing_transactions(written.splitlines())
    seconds = sum(taken) / USERS
    return [
        Row(
            name="writing transactions",
            unit="a turn",
            ours=by_login.get(Login.APP, 0) / len(taken),
            target=Target(of="figure", must=4, aim=3),
        ),
        Row(
            name="the recorder's commits",
            unit="a second",
            ours=by_login.get(Login.RECORDER, 0) / seconds,
            target=Target(of="figure", must=20, aim=20),
        ),
        Row(name="signs of life", unit="a second", ours=by_login.get(Login.SERVICE, 0) / seconds),
    ]


def _cost_rows(passes: Passes, *, targets: bool = True) -> list[Row]:
    def server_ms(name: str) -> float:
        return median(each.server_ms for each in passes[name])

    def postgres_ms(name: str) -> float:
        return median(each.postgres_ms for each in passes[name])

    return [
        Row(
            name="server CPU, beside by hand without a database",
            unit="ms a turn",
            ours=server_ms(OURS),
            floor=server_ms(BY_HAND),
            target=Target(of="ratio", must=0.4, aim=0.2) if targets else None,
        ),
        Row(
            name="server CPU, beside by hand with PostgreSQL",
            unit="ms a turn",
            ours=server_ms(OURS),
            floor=server_ms(BY_HAND_STORED),
        ),
        Row(
            name="PostgreSQL's CPU, beside by hand with PostgreSQL",
            unit="ms a turn",
            ours=postgres_ms(OURS),
            floor=postgres_ms(BY_HAND_STORED),
        ),
    ]


def _latency_rows(passes: Passes) -> list[Row]:
    def added(name: str) -> float:
        both = zip(passes[name], passes[MODEL], strict=True)
        return median(added_ms(own.turns, alone.turns) for own, alone in both)

    return [
        Row(
            name="added to the model's own time, beside by hand with PostgreSQL",
            unit="ms a turn",
            ours=added(OURS),
            floor=added(BY_HAND_STORED),
            target=Target(of="ratio", must=0.75, aim=0.5),
        ),
        Row(
            name="added to the model's own time, beside by hand without a database",
            unit="ms a turn",
            ours=added(OURS),
            floor=added(BY_HAND),
        ),
    ]


if __name__ == "__main__":
    main()
