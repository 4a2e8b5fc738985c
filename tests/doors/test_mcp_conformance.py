"""The protocol's own conformance suite finds nothing wrong with the MCP door, in both eras.

Most of its scenarios call fixtures of a server written for it: `test_simple_text`, prompts, resources, an extension of
tasks. A governed server has no such tools, so those scenarios end where the fixture is missing; each such end is named
below, and anything else that is not a success fails.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from server.database.embedded import EmbeddedServer
from tests.support.database import Database
from tests.support.node import needs_packages, run_node
from tests.support.served import Served, firms_database, served
from tests.support.signing_proxy import signing_proxy

pytestmark = [needs_packages, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

Check = dict[str, Any]
SUITE = "node_modules/@modelcontextprotocol/conformance/dist/index.js"

MUST_PASS: Mapping[str, set[str]] = {
    "2026-07-28": {"tools-list", "dns-rebinding-protection", "http-header-validation", "server-stateless", "caching"},
    "2025-11-25": {"server-initialize", "ping", "tools-list", "dns-rebinding-protection"},
}
"""Scenarios that say something of a server without the fixtures; of the last two of the first, all that is testable."""
LEAST_SUCCESSES = {"2026-07-28": 60, "2025-11-25": 30}
"""So that a suite that no longer reaches the server does not pass; there were 73 and 35."""

NOT_OURS = re.compile(
    r"Method not found"  # no prompts, resources, completion or log levels are offered, nor declared
    r"|There is no tool named 'test_|Tool 'json_schema_2020_12_tool' not found|^Not testable: server"
    r"|Expected InputRequiredResult|could not get initial InputRequiredResult"  # of a fixture that asks for input
    r"|error instead of re-requesting|Expected error code -32602 \(Invalid Params\), got -32601"
    r"|Error data.uri is undefined|did not provide session ID"  # stateless on purpose
)


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with firms_database(cluster, template) as database:
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database) -> AsyncIterator[Served]:
    async with served(firms) as running:
        yield running


def checks_of(results: Path) -> list[tuple[str, Check]]:
    """Every check with its scenario; the extension of tasks, which is not offered, left out."""
    found: list[tuple[str, Check]] = []
    for path in sorted(results.glob("*/checks.json")):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.name)
        if not scenario.startswith("tasks-"):
            found += [(scenario, check) for check in cast("list[Check]", json.loads(path.read_text()))]
    return found


def why(check: Check) -> str:
    """Why a check is no success, in the suite's words."""
    told = check.get("errorMessage") or json.dumps(check.get("details"))
    return str(told)


@pytest.mark.parametrize("revision", MUST_PASS)
async def test_conformance_suite_misses_nothing_but_its_own_fixtures(
    server: Served, tmp_path: Path, revision: str
) -> None:
    results = tmp_path / "results"
    async with signing_proxy(server.url, server.token("partner", "mcp")) as url:
        ran = await run_node(
            [SUITE, "server", "--url", f"{url}/mcp", "--requirements", revision, "-o", str(results)], home=tmp_path
        )
    checks = checks_of(results)
    assert checks, ran.err
    unlike = [each for each in checks if each[1]["status"] not in ("SUCCESS", "INFO", "SKIPPED")]
    assert [(scenario, why(check)) for scenario, check in unlike if not NOT_OURS.search(why(check))] == []
    succeeded = [scenario for scenario, check in checks if check["status"] == "SUCCESS"]
    assert set(succeeded) >= MUST_PASS[revision]
    assert len(succeeded) >= LEAST_SUCCESSES[revision], len(succeeded)
