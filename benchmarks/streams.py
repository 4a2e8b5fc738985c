"""Open streams: what a thousand followers of one process cost, a hundred of them hearing 50 tokens a second."""

import asyncio
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import orjson

from benchmarks import model
from benchmarks.chat_turn import launched_ours
from benchmarks.load import WrongAnswer
from benchmarks.processes import Launched, cpu_s, launched, machine, memory_mib, pin_this_process
from benchmarks.stage import USERS, Home, fake_model, free_port, fresh_home, postmaster
from benchmarks.tally import Row, Target, table
from server.cli.running import allow_open_files

PASSES = 3
IDLE, ACTIVE = 900, 100
FEW_RUNS = 5
"""That the active streams share, where what a follower costs is to be told apart from what a run costs."""
QUIET_RUNS = 9
SETTLE_S = 2.0
WINDOW_S = 5.0
WAIT_S = 120.0
AT_ONCE = 50
"""Streams that are opened together."""
CONFIGURATION = "limits:\n  runs: 1000\n  streams: 1000\n"
WORD = b"word "


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for a stream, and the sign of its end."""

    target: str
    headers: str = ""
    body: bytes = b""
    last: bytes

    @property
    def wire(self) -> bytes:
        """The request as it is sent."""
        method = "POST" if self.body else "GET"
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        return f"{method} {self.target} HTTP/1.1\r\nHost: here\r\n{self.headers}{length}\r\n".encode() + self.body


class Stream(asyncio.Protocol):
    """One open stream: keeps what it is sent, and does nothing else that would cost the other core."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._transport: asyncio.BaseTransport | None = None
        self.received = bytearray()
        self.begun = asyncio.Event()
        """Its first event is there."""
        self.ended = asyncio.Event()
        """Its last is, or the connection is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(self._asked.wire)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if b"data: " in data:
            self.begun.set()
        if self._asked.last in self.received[-len(data) - 64 :]:
            self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.begun.set()
        self.ended.set()

    @property
    def words(self) -> int:
        """Words of the deltas so far; the whole text, which a message ends with, counts as no more."""
        return min(self.received.count(WORD), model.STEADY_WORDS)

    @property
    def run_id(self) -> str:
        """Of the run whose stream it is."""
        data = self.received.partition(b"data: ")[2].partition(b"\n")[0]
        return str(orjson.loads(data)["run_id"])

    def whole(self, words: int) -> bool:
        """Whether all of it arrived, to the last event."""
        return self._asked.last in self.received and self.received.count(WORD) >= words

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What the active streams cost while all of them were heard."""

    cpu_us: float
    """Of the server, a word and stream."""
    postgres_us: float
    words_s: float
    """That each stream heard, a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One process, from its start to its end."""

    idle_kib: float
    spoken: Spoken
    shared: Spoken | None = None
    """The same where the streams share few runs."""


def main() -> None:
    """Measure and print."""
    pinned = pin_this_process()
    allow_open_files()
    print(f"\nstreams on {machine()}{'' if pinned else '; NOT PINNED: there are no two cores to part'}", flush=True)
    print(f"\n{table(f'{IDLE + ACTIVE} open streams, {ACTIVE} of them at 50 tokens a second', measure())}", flush=True)


def measure() -> list[Row]:
    """The benchmark's table."""
    ours: list[Pass] = []
    floor: list[Pass] = []
    with fresh_home() as home, home.database() as server, fake_model() as model_url:
        configuration = home.folder / "system.yaml"
        configuration.write_text(CONFIGURATION)
        for _ in range(PASSES):
            with launched_ours(home, model_url, {"SYSTEM_CONFIG_PATH": str(configuration)}) as running:
                ours.append(asyncio.run(_ours(Ours(home, running), lambda: cpu_s(postmaster(server)))))
            with _launched_floor(home) as running:
                floor.append(asyncio.run(_floor(running)))
    return _rows(ours, floor)


@contextmanager
def _launched_floor(home: Home) -> Generator[Launched]:
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "benchmarks.floors.sse:app", "--port", str(port), "--no-access-log")
    with launched(command, {"PYTHONPATH": os.pathsep.join(sys.path)}, port, home.log("sse")) as running:
        yield running


class Ours:
    """Requests of our server."""

    def __init__(self, home: Home, running: Launched) -> None:
        self.running = running
        self._bearers = [f"Authorization: Bearer {home.token(user)}\r\n" for user in range(USERS)]

    def says(self, message: str, user: int) -> Asked:
        """A message whose run is streamed."""
        headers = f"{self._bearers[user % USERS]}Content-Type: application/json\r\nAccept: text/event-stream\r\n"
        body = orjson.dumps({"message": message})
        return Asked(target="/v1/chat", headers=headers, body=body, last=b"event: run.completed")

    def follows(self, run_id: str, user: int) -> Asked:
        """The stream of a run that is going."""
        target, headers = f"/v1/runs/{run_id}/events", self._bearers[user % USERS]
        return Asked(target=target, headers=headers, last=b"event: run.completed")


async def _ours(ours: Ours, postgres_s: Callable[[], float]) -> Pass:
    await _heard([ours.says(model.AT_ONCE, user) for user in range(USERS)], ours.running, to_the_end=True)
    quiet = await _heard([ours.says(model.QUIET, user) for user in range(QUIET_RUNS)], ours.running)
    before = memory_mib(ours.running.process)
    idle = [ours.follows(quiet[n % QUIET_RUNS].run_id, n % QUIET_RUNS) for n in range(IDLE)]
    open_streams = await _heard(idle, ours.running)
    await asyncio.sleep(SETTLE_S)
    idle_kib = (memory_mib(ours.running.process) - before) * 1024 / IDLE
    spoken = await _spoken(await _steady(ours, ACTIVE), ours.running, postgres_s)
    shared = await _spoken(await _steady(ours, FEW_RUNS), ours.running, postgres_s)
    _close([*open_streams, *quiet])
    return Pass(idle_kib=idle_kib, spoken=spoken, shared=shared)


async def _steady(ours: Ours, runs: int) -> list[Stream]:
    """The active streams, spread over so many runs that speak."""
    speaking = await _heard([ours.says(model.STEADY, user) for user in range(runs)], ours.running)
    more = [ours.follows(speaking[n % runs].run_id, n % runs) for n in range(ACTIVE - runs)]
    return [*speaking, *await _heard(more, ours.running)]


async def _floor(running: Launched) -> Pass:
    before = memory_mib(running.process)
    open_streams = await _heard([Asked(target="/quiet", last=b"event: done")] * IDLE, running)
    await asyncio.sleep(SETTLE_S)
    idle_kib = (memory_mib(running.process) - before) * 1024 / IDLE
    target = f"/steady?words={model.STEADY_WORDS}&token_s={model.STEADY_TOKEN_S}"
    speaking = await _heard([Asked(target=target, last=b"event: done")] * ACTIVE, running)
    spoken = await _spoken(speaking, running, lambda: 0.0)
    _close(open_streams)
    return Pass(idle_kib=idle_kib, spoken=spoken)


async def _heard(asked: Sequence[Asked], running: Launched, *, to_the_end: bool = False) -> list[Stream]:
    """Open streams, each of which has begun, or ended."""
    loop, port = asyncio.get_running_loop(), int(running.url.rpartition(":")[2])
    streams: list[Stream] = []
    for start in range(0, len(asked), AT_ONCE):
        opening = [Stream(each) for each in asked[start : start + AT_ONCE]]
        async with asyncio.timeout(WAIT_S):
            for stream in opening:
                await loop.create_connection(lambda stream=stream: stream, "127.0.0.1", port)
            for stream in opening:
                await (stream.ended if to_the_end else stream.begun).wait()
        streams.extend(opening)
    return streams


async def _spoken(streams: Sequence[Stream], running: Launched, postgres_s: Callable[[], float]) -> Spoken:
    """What a window in their midst cost; then each is heard to its end.

    Raises  WrongAnswer: something did not arrive.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(1.0)
    begun, heard, server, postgres = loop.time(), _words(streams), cpu_s(running.process), postgres_s()
    await asyncio.sleep(WINDOW_S)
    words = _words(streams) - heard
    seconds, server, postgres = loop.time() - begun, cpu_s(running.process) - server, postgres_s() - postgres
    async with asyncio.timeout(WAIT_S):
        for stream in streams:
            await stream.ended.wait()
    if not all(stream.whole(model.STEADY_WORDS) for stream in streams):
        raise WrongAnswer(f"{running.url}: a stream is not whole")
    _close(streams)
    return Spoken(
        cpu_us=server * 1e6 / words, postgres_us=postgres * 1e6 / words, words_s=words / len(streams) / seconds
    )


def _words(streams: Sequence[Stream]) -> int:
    return sum(stream.words for stream in streams)


def _close(streams: Sequence[Stream]) -> None:
    for stream in streams:
        stream.close()


def _rows(ours: list[Pass], floor: list[Pass]) -> list[Row]:
    def of(passes: list[Pass], figure: Callable[[Spoken], float]) -> float:
        return median(figure(each.spoken) for each in passes)

    def shared(figure: Callable[[Spoken], float]) -> float:
        return median(figure(each.shared) for each in ours if each.shared is not None)

    return [
        Row(
            name="memory of an idle follower, beside sse-starlette by hand",
            unit="KiB",
            ours=median(each.idle_kib for each in ours),
            floor=median(each.idle_kib for each in floor),
            target=Target(of="figure", must=47, aim=20),
        ),
        Row(
            name=f"server CPU, {ACTIVE} followers of {FEW_RUNS} runs, the runs themselves included",
            unit="us a token and follower",
            ours=shared(lambda spoken: spoken.cpu_us),
            floor=of(floor, lambda spoken: spoken.cpu_us),
            target=Target(of="figure", must=45, aim=22),
        ),
        Row(
            name=f"server CPU, {ACTIVE} followers of {ACTIVE} runs: model, recording and all",
            unit="us a token",
            ours=of(ours, lambda spoken: spoken.cpu_us),
            floor=of(floor, lambda spoken: spoken.cpu_us),
        ),
        Row(
            name=f"PostgreSQL's CPU, {ACTIVE} runs", unit="us a token", ours=of(ours, lambda spoken: spoken.postgres_us)
        ),
        Row(
            name=f"heard by each of {ACTIVE} followers of {ACTIVE} runs",
            unit="tokens a second",
            ours=of(ours, lambda spoken: spoken.words_s),
            floor=of(floor, lambda spoken: spoken.words_s),
        ),
    ]


if __name__ == "__main__":
    main()
