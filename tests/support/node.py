"""Programs of `tests/node`, run beside a server that a test serves from its own loop."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from checks.node import find_node, why_missing

FOLDER = Path(__file__).resolve().parents[1] / "node"
MISSING = why_missing(FOLDER)
needs_packages = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
TIMEOUT_S = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a program ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed."""
        assert self.out, f"exit {self.code}: {self.err}"
        return json.loads(self.out)


async def run_node(
    arguments: Sequence[str], *, given: object = None, home: Path, more: Mapping[str, str] | None = None
) -> Ran:
    """A script of `tests/node` or of one of its packages; `home`: where it may leave files of its own."""
    node = find_node()
    assert node is not None
    environment = {"PATH": f"{node.program.parent}{os.pathsep}{os.defpath}", "HOME": str(home), **(more or {})}
    process = await asyncio.create_subprocess_exec(
        str(node.program),
        *arguments,
        cwd=FOLDER,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate(json.dumps(given).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(code=process.returncode, out=out.decode(), err=err.decode())
