"""A process that runs `glow` commands one after another, so that a suite of hundreds need not start Python for each.

Commands need a main thread and an event loop of their own, which a test's own process cannot spare. One JSON line in,
the command's words; one JSON line out: its exit code and what it printed. `--mutant NAME` has another gate make calls.
"""

import argparse
import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from server.cli.main import main

Command = Callable[[Sequence[str]], int]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class CommandHost:
    """The process, from the outside."""

    process: asyncio.subprocess.Process

    async def run(self, *words: str) -> Printed:
        """Run one command to its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        line = await asyncio.wait_for(self.process.stdout.readline(), timeout=60)
        return Printed(**json.loads(line))


@asynccontextmanager
async def command_host(environment: Mapping[str, str], mutant: str | None = None) -> AsyncGenerator[CommandHost]:
    """The process for the length of the block; `environment` says which installation its commands are for."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.command_host", *(() if mutant is None else ("--mutant", mutant))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
        limit=2**24,
    )
    try:
        yield CommandHost(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def host(command: Command, answers: IO[str]) -> None:
    """Run commands until nobody asks any more."""
    for line in sys.stdin:
        printed, complained = io.StringIO(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(complained):
            code = command(cast("list[str]", json.loads(line)))
        answers.write(json.dumps({"code": code, "out": printed.getvalue(), "err": complained.getvalue()}) + "\n")
        answers.flush()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutant")
    mutant = cast("str | None", parser.parse_args().mutant)
    command: Command = main
    if mutant is not None:
        from tests.support.mutants import MUTANTS, mutated_command

        command = mutated_command(MUTANTS[mutant])
    host(command, sys.stdout)


if __name__ == "__main__":
    _main()
