"""Processes of one work under a supervisor: started again, given up, told to end, and never left behind."""

import asyncio
import gc
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from domain.resources import resource_folder
from server.cli.faults import words_for
from server.cli.serving_together import cancelled_once
from server.processes.child import Parent
from server.processes.supervisor import NotServing, Patience, Supervisor
from tests.support import works
from tests.support.works import lives

WITHIN_S = 100
LOOK_S = 0.02
NEVER_S = 3600.0


def pids(folder: Path) -> list[int]:
    """Of the processes that came to their work, also those that are gone."""
    return [int(each.name) for each in folder.iterdir() if each.name.isdigit()]


def living(folder: Path) -> list[int]:
    return [pid for pid in pids(folder) if psutil.pid_exists(pid)]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            if holds():
                return
            await asyncio.sleep(LOOK_S)


def supervised(
    folder: Path,
    work: Callable[[Path, Parent], None],
    patience: Patience,
    *,
    stopping: Callable[[], None] = lambda: None,
    count: int = 2,
) -> tuple[asyncio.Task[None], asyncio.Event]:
    """Processes under a supervisor, and whether all of them have begun."""
    started = asyncio.Event()
    running = Supervisor(count, partial(work, folder), patience).run(started.set, stopping)
    return asyncio.create_task(running), started


async def ended(running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(WITHIN_S):
        await asyncio.wait([running])


def named(logs: Sequence[Any], event: str) -> list[Any]:
    return [each for each in logs if each["event"] == event]


@contextmanager
def no_room() -> Generator[None]:
    """This process may open nothing more than it has open, for the length of the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What others left open gives no room later.
    gc.collect()
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_one_that_ends_soon_after_it_began_is_started_again_after_growing_pauses_and_the_log_says_so(
    tmp_path: Path,
) -> None:
    patience = Patience(first_pause_s=0.01, longest_pause_s=0.04, steady_after_s=NEVER_S)
    with capture_logs() as logs:
        running, _ = supervised(tmp_path, works.falls, patience, count=1)
        await until(lambda: len(named(logs, "serve.process_keeps_ending")) >= 2)
        running.cancel()
        await ended(running)
    assert running.cancelled()
    said = named(logs, "serve.process_ended")
    assert [each["again_in_s"] for each in said[:4]] == [0.01, 0.02, 0.04, 0.04]
    assert {each["ended"] for each in said} == {"exit code 3"}
    words = named(logs, "serve.process_keeps_ending")[0]["detail"]
    assert words.startswith("process 1 has ended 3 times, each time soon after it began")
    assert living(tmp_path) == []


async def test_one_that_worked_for_long_is_followed_at_once(tmp_path: Path) -> None:
    with capture_logs() as logs:
        running, started = supervised(tmp_path, works.stands, Patience(steady_after_s=0))
        await asyncio.wait_for(started.wait(), WITHIN_S)
        psutil.Process(pids(tmp_path)[0]).kill()
        await until(lambda: len(pids(tmp_path)) == 3)
        running.cancel()
        await ended(running)
    (said,) = named(logs, "serve.process_ended")
    assert (said["ended"], said["again_in_s"]) == ("signal SIGKILL", 0)
    assert living(tmp_path) == []


async def test_one_for_which_there_is_no_room_is_tried_again_and_the_others_serve_on(tmp_path: Path) -> None:
    patience = Patience(first_pause_s=0.01, longest_pause_s=0.04, steady_after_s=NEVER_S)
    with capture_logs() as logs:
        running, started = supervised(tmp_path, works.stands, patience)
        await asyncio.wait_for(started.wait(), WITHIN_S)
        killed, spared = pids(tmp_path)
        gc.collect()
        had_open = psutil.Process().num_fds()
        with no_room():
            os.kill(killed, signal.SIGKILL)
            await until(lambda: len(named(logs, "serve.process_keeps_ending")) >= 3)
        await until(lambda: len(named(logs, "serve.process_started")) == 3)
        # No more than before: what other tests left open may be closed at any time.
        await until(lambda: psutil.Process().num_fds() <= had_open)
        assert spared in living(tmp_path)
        running.cancel()
        await ended(running)
    assert running.cancelled()
    first, *others = named(logs, "serve.process_ended")
    assert (first["pid"], first["ended"], first["again_in_s"]) == (killed, "signal SIGKILL", 0.01)
    assert {(each["pid"], each["ended"]) for each in others} == {(None, "not started")}
    assert [each["again_in_s"] for each in others[:3]] == [0.02, 0.04, 0.04]
    assert "could not be started: [Errno 24]" in named(logs, "serve.process_keeps_ending")[0]["detail"]
    assert living(tmp_path) == []


async def test_where_there_is_no_room_from_the_start_that_is_told_in_words(tmp_path: Path) -> None:
    with no_room():
        running, started = supervised(tmp_path, works.stands, Patience(), count=1)
        await ended(running)
    with pytest.raises(ExceptionGroup) as failed:
        running.result()
    words = words_for(failed.value)
    assert words is not None
    assert words.startswith("process 1 could not be started: [Errno 24]")
    assert not started.is_set()


async def test_when_one_refuses_at_the_start_the_others_end_too_and_its_words_are_told(tmp_path: Path) -> None:
    running, started = supervised(tmp_path, works.refuses_as_second, Patience())
    await ended(running)
    with pytest.raises(ExceptionGroup) as failed:
        running.result()
    assert [str(each) for each in failed.value.exceptions] == ["there is no second chair"]
    assert not started.is_set()
    assert living(tmp_path) == []


async def test_one_that_never_comes_to_work_is_killed(tmp_path: Path) -> None:
    running, _ = supervised(tmp_path, works.says_nothing, Patience(start_within_s=0.5))
    await ended(running)
    with pytest.raises(ExceptionGroup) as failed:
        running.result()
    assert "before all served" in str(failed.value.exceptions[0])
    assert living(tmp_path) == []


async def test_one_that_does_not_end_in_time_is_killed_and_that_is_no_success(tmp_path: Path) -> None:
    running, started = supervised(tmp_path, works.stands_still, Patience(stop_within_s=0.1))
    await asyncio.wait_for(started.wait(), WITHIN_S)
    running.cancel()
    await ended(running)
    with pytest.raises(NotServing, match=r"process 1, 2 did not end within 0\.1 s"):
        running.result()
    assert living(tmp_path) == []


async def test_told_twice_it_kills_what_is_left_at_once(tmp_path: Path) -> None:
    stopping = asyncio.Event()
    running, started = supervised(tmp_path, works.stands_still, Patience(stop_within_s=NEVER_S), stopping=stopping.set)
    await asyncio.wait_for(started.wait(), WITHIN_S)
    running.cancel()
    await asyncio.wait_for(stopping.wait(), WITHIN_S)
    assert len(living(tmp_path)) == 2
    running.cancel()
    await ended(running)
    assert running.cancelled()
    assert living(tmp_path) == []


def test_processes_that_stand_still_end_all_the_same_when_their_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.works", str(tmp_path)], cwd=resource_folder("manifests").parent
    ) as process:
        asyncio.run(until((tmp_path / "started").exists))
        left = psutil.Process(process.pid).children(recursive=True)
        assert {each.pid for each in left} >= set(pids(tmp_path))
        process.kill()
    asyncio.run(until(lambda: not any(map(lives, left))))


async def test_work_that_is_told_to_end_twice_ends_in_its_own_time() -> None:
    begun, told, goes = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.set()
            await goes.wait()

    working = asyncio.create_task(cancelled_once(work()))
    await begun.wait()
    working.cancel()
    await told.wait()
    working.cancel()
    await asyncio.sleep(0)
    goes.set()
    await working
