"""The start: from nothing running, the embedded PostgreSQL included, to the first healthy answer; and idle memory."""

import time
from dataclasses import dataclass
from statistics import median

from benchmarks.chat_turn import launched_by_hand, launched_ours
from benchmarks.doors import Doors
from benchmarks.processes import Launched, machine, memory_mib, pin_this_process
from benchmarks.stage import Home, fake_model, fresh_home
from benchmarks.tally import Row, Target, table

PASSES = 5
SETTLE_S = 4.0
"""After the first healthy answer: what is loaded behind it is there, and nothing has been asked yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start."""

    seconds: float
    idle_mib: float


def main() -> None:
    """Measure and print."""
    pin_this_process()
    print(f"\nstartup on {machine()}", flush=True)
    print(f"\n{table('A warm start', measure())}", flush=True)


def measure() -> list[Row]:
    """The benchmark's table."""
    ours: list[Start] = []
    by_hand: list[Start] = []
    with fresh_home() as home, fake_model() as model_url:
        for _ in range(PASSES):
            # Nobody holds the home's PostgreSQL meanwhile: each start of ours starts it too.
            with launched_ours(home, model_url) as running:
                ours.append(_start(running))
            with launched_by_hand(home, model_url, {}) as running:
                by_hand.append(_start(running))
        used_mib = _memory_once_used(home, model_url)
    return _rows(ours, by_hand, used_mib)


def _start(running: Launched) -> Start:
    time.sleep(SETTLE_S)
    return Start(seconds=running.started_s, idle_mib=memory_mib(running.process))


def _memory_once_used(home: Home, model_url: str) -> float:
    with launched_ours(home, model_url) as running:
        Doors(home=home, url=running.url).open_all()
        time.sleep(SETTLE_S)
        return memory_mib(running.process)


def _rows(ours: list[Start], by_hand: list[Start], used_mib: float) -> list[Row]:
    def seconds(starts: list[Start]) -> float:
        return median(start.seconds for start in starts)

    def idle_mib(starts: list[Start]) -> float:
        return median(start.idle_mib for start in starts)

    return [
        Row(
            name="to the first healthy answer, the embedded PostgreSQL included",
            unit="s",
            ours=seconds(ours),
            floor=seconds(by_hand),
            target=Target(of="figure", must=3, aim=1.5),
        ),
        Row(
            name="memory of the server process, idle",
            unit="MiB",
            ours=idle_mib(ours),
            floor=idle_mib(by_hand),
            target=Target(of="figure", must=110, aim=90),
        ),
        Row(
            name="memory of the server process, every door used",
            unit="MiB",
            ours=used_mib,
            target=Target(of="figure", must=160, aim=130),
        ),
    ]


if __name__ == "__main__":
    main()
