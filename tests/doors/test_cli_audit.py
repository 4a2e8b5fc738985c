"""`glow audit` on a real database: exported, proved and kept by commands, and checked by one that asks no database."""

from pathlib import Path

from server.database.pool import open_pools
from tests.doors.test_cli_commands import Glow, firm, glow, installation
from tests.support.database import Database, run_apart
from tests.support.ledger import KEY, seal

__all__ = ["firm", "glow", "installation"]

FIRM = ("--organization", "acme-audit")
MANAGER = (*FIRM, "--user", "manager@acme.example")
EMPLOYEE = (*FIRM, "--user", "employee@acme.example")


async def sealed(database: Database) -> None:
    async with open_pools(database.urls()) as pools:
        await seal(pools.service)


def test_the_record_is_exported_proved_and_checked_by_commands(glow: Glow, firm: Database, tmp_path: Path) -> None:
    export, head, proof = (str(tmp_path / name) for name in ("export.ndjson", "head.json", "proof.json"))
    assert glow("tools", "call", "task_list", *EMPLOYEE) == 0
    run_apart(sealed(firm))
    assert glow("audit", "head", *EMPLOYEE, "--output", head) == 0
    assert glow("audit", "export", *EMPLOYEE) == 1
    assert "role_too_low" in glow.err
    assert glow("audit", "export", *MANAGER, "--payloads", "--output", export) == 0
    assert glow("audit", "verify", export, "--head", head, "--key-id", KEY.key_id) == 0
    assert "Holds:" in glow.out
    assert KEY.key_id in glow.out
    assert glow("audit", "verify", head, "--key-id", KEY.key_id) == 0
    assert f"Signed by key {KEY.key_id}" in glow.out
    assert glow("audit", "verify", head, "--key-id", "0" * 64) == 1
    assert "a key that you do not trust" in glow.out
    assert glow("audit", "head", *EMPLOYEE) == 0
    size = glow.json["head"]["size"]
    assert glow("audit", "head", *EMPLOYEE, "--since", str(size + 1)) == 1
    assert "events are sealed so far" in glow.err

    lines = Path(export).read_bytes().splitlines(keepends=True)
    call_id = next(line for line in lines if b'"tool":"task_list"' in line).split(b'"call_id":"')[1][:36].decode()
    assert glow("audit", "prove", call_id, *MANAGER, "--output", proof) == 0
    assert glow("audit", "verify", proof, "--head", head, "--json") == 0
    assert (glow.json["ok"], glow.json["rows"], glow.json["call_id"]) == (True, 1, call_id)

    # Once the record has grown, a proof is tied to the head that was kept, or does not hold.
    link = str(tmp_path / "link.json")
    run_apart(sealed(firm))
    assert glow("audit", "prove", call_id, *MANAGER, "--output", proof) == 0
    assert glow("audit", "verify", proof, "--head", head) == 1
    assert f"run `glow audit head --since {size}`" in glow.out
    assert glow("audit", "head", *EMPLOYEE, "--since", str(size), "--output", link) == 0
    assert glow("audit", "verify", proof, "--head", head, "--consistency", link) == 0
    assert f", call {call_id}." in glow.out
    assert glow("audit", "prove", call_id, *MANAGER, "--since", str(size), "--output", proof) == 0
    assert glow("audit", "verify", proof, "--head", head) == 0
    assert glow("audit", "prove", call_id, *MANAGER, "--since", "1000000") == 1
    assert "events are sealed so far" in glow.err
    assert glow("audit", "verify", export, "--consistency", link) == 1
    assert "an export has every row" in glow.err
    assert glow("audit", "verify", proof, "--consistency", export) == 1
    assert "this is not what `glow audit head --since SIZE` prints" in glow.err

    Path(export).write_bytes(b"".join(line.replace(b'"task_list"', b'"task_lost"') for line in lines))
    assert glow("audit", "verify", export) == 1
    assert "DOES NOT HOLD (leaf): first bad row" in glow.out
    assert glow("audit", "verify", export, "--json") == 1
    assert glow.json["fault"]["code"] == "leaf"
    assert glow("audit", "verify", export, "--head", export) == 1
    assert "there is no head in it" in glow.err


def test_an_export_on_standard_output_can_be_checked(glow: Glow, firm: Database, tmp_path: Path) -> None:
    assert glow("tools", "call", "task_list", *EMPLOYEE) == 0
    run_apart(sealed(firm))
    assert glow("audit", "export", *MANAGER) == 0
    path = tmp_path / "export.ndjson"
    path.write_bytes(glow.out.encode())
    assert glow("audit", "verify", str(path)) == 0


def test_what_a_siem_takes_is_written_by_the_same_command(glow: Glow, firm: Database, tmp_path: Path) -> None:
    assert glow("tools", "call", "task_list", *EMPLOYEE) == 0
    run_apart(sealed(firm))
    path = tmp_path / "events.ndjson"
    assert glow("audit", "export", *MANAGER, "--format", "ocsf", "--output", str(path)) == 0
    lines = path.read_bytes().splitlines()
    assert b'"operation":"task_list"' in lines[-1]
    assert glow("audit", "export", *MANAGER, "--format", "ocsf", "--since", str(len(lines) - 1)) == 0
    assert glow.out.encode().splitlines() == lines[-1:]
    assert glow("audit", "export", *MANAGER, "--format", "ocsf", "--payloads") == 1
    assert "not in an export for a SIEM" in glow.err
    assert glow("audit", "export", *MANAGER, "--format", "cef") == 2
