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


@dataclass(slots=True)
class CommandHost:
    """The process, from the outside; it begins with the first command."""

    environment: Mapping[str, str]
    mutant: str | None = None
    _process: asyncio.subprocess.Process | None = None

    async def run(self, *words: str) -> Printed:
        """Run one command to its end."""
        process = self._process = self._process or await self._begun()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(words).encode() + b"\n")
        line = await asyncio.wait_for(process.stdout.readline(), timeout=60)
        return Printed(**json.loads(line))

    async def end(self) -> None:
        """Wait until the process is gone."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    async def _begun(self) -> asyncio.subprocess.Process:
        chosen = () if self.mutant is None else ("--mutant", self.mutant)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.command_host", *chosen),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **self.environment},
            limit=2**24,
        )


@asynccontextmanager
async def command_host(environment: Mapping[str, str], mutant: str | None = None) -> AsyncGenerator[CommandHost]:
    """The process for the length of the block; `environment` says which installation its commands are for."""
    begun = CommandHost(environment, mutant)
    try:
        yield begun
    finally:
        await begun.end()


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
