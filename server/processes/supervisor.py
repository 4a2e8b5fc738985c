"""Keeps several processes at one work: starts again what ends by itself, and takes all of them down when it is told."""

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import structlog

from server.processes.child import Work, live

log = structlog.get_logger()

KEEPS_ENDING = 3
"""Ends one soon after the other from which on they are no accident."""


class NotServing(Exception):
    """The processes could not begin their work, or not end it in order; the words say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long processes are waited for, and what starts again rests before."""

    start_within_s: float = 120.0
    """A process that does not say within this time that it works is killed."""
    stop_within_s: float = 60.0
    """Likewise one that is told to end: more than its requests, its jobs and its runs get together."""
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    steady_after_s: float = 30.0
    """A process that has worked for so long was well: the next one is started at once."""

    def pause_s(self, ends: int) -> float:
        """How long to wait after so many ends one soon after the other."""
        return 0.0 if ends == 0 else min(self.first_pause_s * 2 ** min(ends - 1, 16), self.longest_pause_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    number: int
    process: SpawnProcess
    told: Connection

    @property
    def has_ended(self) -> bool:
        return bool(connection.wait([self.process.sentinel], timeout=0))

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = self.process.exitcode
        return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How one of them ended, or why there was none."""

    pid: int | None = None
    ending: str
    words: str = ""
    """With which it refused, if it did."""
    worked_s: float = 0.0


class Supervisor:
    """Runs until it is cancelled, which tells the processes to end; cancelled again, it kills what is left of them."""

    def __init__(self, count: int, work: Work, patience: Patience | None = None) -> None:
        self._count = count
        self._work = work
        self._patience = patience or Patience()
        self._context = multiprocessing.get_context("spawn")
        self._children = dict[int, _Child]()
        self._served = set[int]()
        self._all_served = asyncio.Event()

    async def run(self, started: Callable[[], None], stopping: Callable[[], None]) -> None:
        """Keep so many processes at the work.

        `started`: called once, when each of them works. `stopping`: called before they are told to end.
        Raises  NotServing: one of them could not begin, before all of them had; or some had to be killed at the end.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1, self._count + 1):
                    group.create_task(self._keep(number), name=f"process {number}")
                await self._all_served.wait()
                started()
        finally:
            stopping()
            try:
                await self._end()
            finally:
                self._kill()

    async def _keep(self, number: int) -> None:
        """One place among the processes: whatever stands there and ends is followed by another."""
        ends = 0
        while True:
            end = await self._life(number)
            if not self._all_served.is_set():
                raise NotServing(end.words or f"process {number} ended ({end.ending}) before all served; see the log")
            ends = 0 if end.worked_s >= self._patience.steady_after_s else ends + 1
            pause_s = self._patience.pause_s(ends)
            log.warning("serve.process_ended", process=number, pid=end.pid, ended=end.ending, again_in_s=pause_s)
            if ends >= KEEPS_ENDING:
                _say_that_it_keeps_ending(number, ends, end.words, pause_s)
            await asyncio.sleep(pause_s)

    async def _life(self, number: int) -> _End:
        """One process from its start to its end; what the machine has no room for now ends before it begins."""
        try:
            child = self._start(number)
        except OSError as refused:
            return _End(ending="not started", words=f"process {number} could not be started: {refused}")
        words, worked_s = await self._ended(child)
        return _End(pid=child.process.pid, ending=child.ending, words=words, worked_s=worked_s)

    def _start(self, number: int) -> _Child:
        """Raises  OSError: no room for another process, or for what it takes to talk to it."""
        # Before anything else, as it would lift the block under which a process is started.
        resource_tracker.ensure_running()
        told, telling = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=live,
            args=(self._work, number, telling, self._patience.stop_within_s),
            name=f"glow-{number}",
        )
        try:
            with telling:
                _started_unheard(process)
        except OSError:
            told.close()
            raise
        child = self._children[number] = _Child(number=number, process=process, told=told)
        return child

    async def _ended(self, child: _Child) -> tuple[str, float]:
        """Wait for its end: the words with which it refused, if any, and for how many seconds it worked."""
        words = await self._first_word(child)
        began = time.monotonic()
        if words == "":
            self._serves(child)
        await _readable(child.process.sentinel)
        child.process.join()
        child.told.close()
        del self._children[child.number]
        return words or "", time.monotonic() - began if words == "" else 0.0

    async def _first_word(self, child: _Child) -> str | None:
        """What it says: nothing but that it works, or why it cannot; None: it ends without a word."""
        try:
            async with asyncio.timeout(self._patience.start_within_s):
                await _readable(child.told.fileno())
        except TimeoutError:
            log.error("serve.process_stuck", process=child.number, pid=child.process.pid)
            child.process.kill()
            return None
        with suppress(EOFError, OSError):
            return str(child.told.recv())
        return None

    def _serves(self, child: _Child) -> None:
        log.info("serve.process_started", process=child.number, pid=child.process.pid)
        self._served.add(child.number)
        if len(self._served) == self._count:
            self._all_served.set()

    async def _end(self) -> None:
        """Tell all of them to end, and wait until they have."""
        left = list(self._children.values())
        for child in left:
            child.process.terminate()
        try:
            # In a task that was told to end, asyncio.timeout() of Python 3.11.2 lets its own cancellation through.
            await asyncio.wait_for(
                _all_readable(child.process.sentinel for child in left), self._patience.stop_within_s
            )
        except TimeoutError as late:
            stuck = ", ".join(str(child.number) for child in left if not child.has_ended)
            raise NotServing(
                f"process {stuck} did not end within {self._patience.stop_within_s:g} s and was killed; what it had "
                "under way is gone on with by another server or worker"
            ) from late

    def _kill(self) -> None:
        for child in self._children.values():
            if not child.has_ended:
                log.error("serve.process_killed", process=child.number, pid=child.process.pid)
                child.process.kill()
            child.process.join()


def _started_unheard(process: SpawnProcess) -> None:
    """Start it, out of reach of Ctrl-C until it ignores that: it would end with a traceback.

    Raises  OSError.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _say_that_it_keeps_ending(number: int, ends: int, words: str, pause_s: float) -> None:
    why = words or "its own lines above say more"
    log.error(
        "serve.process_keeps_ending",
        process=number,
        detail=f"process {number} has ended {ends} times, each time soon after it began ({why}); it is started again "
        f"in {pause_s:g} s, and the others go on meanwhile",
    )


async def _all_readable(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        await _readable(descriptor)


async def _readable(descriptor: int) -> None:
    """Returns once there is something to read from it, its end included."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(descriptor)
