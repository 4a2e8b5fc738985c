"""Earned autonomy over REST and by commands: shown, decided, refused, and counted again from a file."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.database.pool import open_pools
from server.logins import Login
from server.operated import earned_rules_of
from server.system_config import read_system_config
from tests.doors.test_cli_commands import Glow
from tests.support.database import Database, fresh_database, run_apart
from tests.support.doors import Doors, problem_of
from tests.support.earned import Firm, found_firms
from tests.support.environment import bare_environment, external
from tests.support.gates import gate_on

ORGANIZATION = ("--organization", "firm-1")
PARTNER = (*ORGANIZATION, "--user", "partner@firm-1.example")
EMPLOYEE = (*ORGANIZATION, "--user", "employee@firm-1.example")
RULES = "autonomy: {minimum_calls: 10, bound_to_raise_prepare: 0.7}\n"


@pytest.fixture(scope="module")
def database_with_a_proposal(
    cluster: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A firm whose people approved ten of the agent's calls, reviewed once."""
    config = tmp_path_factory.mktemp("config") / "system.yaml"
    config.write_text(RULES)
    rules = earned_rules_of(read_system_config(config))

    async def lived(database: Database) -> None:
        async with connected(database.dsn(Login.OWNER)) as owner, open_pools(database.urls()) as pools:
            await found_firms(owner)
            async with gate_on(pools, earned=lambda: rules) as gate:
                firm = Firm(gate=gate, pools=pools)
                await firm.ceiling("L1")
                for _ in range(10):
                    await firm.answered()
                await firm.reviewed()

    with fresh_database(cluster, template) as database:
        run_apart(lived(database))
        yield database


@pytest.fixture
def glow(database_with_a_proposal: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Glow]:
    """The command, on that firm's database."""
    config = tmp_path / "system.yaml"
    config.write_text(RULES)
    with bare_environment(tmp_path) as environment:
        for name, value in external(database_with_a_proposal).items():
            environment.setenv(name, value)
        environment.setenv("SYSTEM_CONFIG_PATH", str(config))
        yield Glow(capsys)


def test_the_record_is_shown_counted_again_and_its_proposal_decided_by_a_partner(glow: Glow, tmp_path: Path) -> None:
    export = str(tmp_path / "export.ndjson")
    assert glow("autonomy", "records", *EMPLOYEE) == 0
    assert "task_create" in glow.out
    assert glow("autonomy", "recompute", *EMPLOYEE) == 1
    assert "role_too_low" in glow.err
    assert glow("autonomy", "recompute", *PARTNER) == 0
    assert "The ledger gives what is stored." in glow.out
    assert glow("audit", "export", *PARTNER, "--payloads", "--output", export) == 0
    assert glow("autonomy", "recompute", *PARTNER, "--export", export, "--json") == 0
    assert (glow.json["same"], glow.json["stored"]) == (True, glow.json["counted"])
    # One approval fewer: the file no longer gives what is stored. That it was changed, `audit verify` says.
    lines = Path(export).read_bytes().splitlines(keepends=True)
    one = next(at for at, line in enumerate(lines) if b'"kind":"tool.completed"' in line and b'"approval_id":"' in line)
    Path(export).write_bytes(b"".join([*lines[:one], *lines[one + 1 :]]))
    assert glow("autonomy", "recompute", *PARTNER, "--export", export) == 1
    assert "THE LEDGER DOES NOT GIVE WHAT IS STORED." in glow.out
    Path(export).write_bytes(b"".join(lines[:6]))
    assert glow("autonomy", "recompute", *PARTNER, "--export", export) == 1
    assert "export again" in glow.err
    Path(export).write_bytes(b"{}\n")
    assert glow("autonomy", "recompute", *PARTNER, "--export", export) == 1
    assert "line 1 is none of an export" in glow.err

    assert glow("autonomy", "proposals", *EMPLOYEE, "--json") == 0
    (proposal,) = glow.json["items"]
    assert (proposal["tool"], proposal["from_level"], proposal["to_level"]) == ("task_create", "L1", "L2")
    assert len(proposal["evidence"]["calls"]) == 10
    assert glow("autonomy", "proposals", *EMPLOYEE) == 0
    assert glow("autonomy", "accept", proposal["proposal_id"], *EMPLOYEE) == 1
    assert "role_too_low" in glow.err
    assert glow("autonomy", "accept", proposal["proposal_id"], *PARTNER, "--comment", "Well earned.") == 0
    assert "task_create: accepted; its ceiling is L2." in glow.out
    assert glow("autonomy", "reject", proposal["proposal_id"], *PARTNER) == 1
    assert "accepted already" in glow.err
    assert glow("autonomy", "accept", str(uuid4()), *PARTNER) == 1
    assert "there is no such proposal" in glow.err
    assert glow("autonomy", "proposals", *EMPLOYEE) == 0
    assert glow.out == "Nothing is proposed.\n"
    assert glow("autonomy", "proposals", *EMPLOYEE, "--all") == 0


async def test_over_rest_the_record_is_shown_and_what_cannot_be_decided_is_refused(doors: Doors) -> None:
    employee, partner = await doors.client(), await doors.client("partner@acme")
    client = await doors.client("client@acme")
    records = (await employee.get("/v1/autonomy/records")).json()
    assert set(records) >= {"items", "through"}
    assert (await client.get("/v1/autonomy/records")).json()["items"] == []
    assert (await employee.get("/v1/autonomy/proposals?state=open")).json() == {"items": [], "next_cursor": None}
    problem_of(await employee.get("/v1/autonomy/proposals?state=odd"), 422, "invalid_request")
    path = f"/v1/autonomy/proposals/{uuid4()}"
    problem_of(await employee.get(path), 404, "not_found")
    decision = {"decision": "accept"}
    problem_of(await partner.post(f"{path}/decision", json=decision), 404, "proposal_not_found")
    problem_of(await employee.post(f"{path}/decision", json=decision), 403, "denied")
    problem_of(await partner.post(f"{path}/decision", json={"decision": "perhaps"}), 422, "invalid_arguments")
    agent = await doors.client("partner@acme", "mcp")
    problem_of(await agent.post(f"{path}/decision", json=decision), 403, "wrong_audience")
