"""A person's data over REST and at the command line: handed out, and erased once a second person has approved it."""

import asyncio
import io
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.doors.test_cli_commands import Glow, firm, glow, installation
from tests.support.doors import Doors, problem_of

__all__ = ["firm", "glow", "installation"]

FIRM = ("--organization", "acme-audit")
PARTNER = (*FIRM, "--user", "partner@acme.example")
PERSON = {"person": "employee@acme.example"}


def entries(content: bytes, part: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(f"data/{part}.ndjson")


async def done(client: httpx.AsyncClient, erasure_id: str) -> dict[str, Any]:
    """The erasure, once the worker has carried it out; the suite's timeout bounds it."""
    while True:
        answer = await client.get(f"/v1/privacy/erasures/{erasure_id}")
        assert answer.status_code == 200, answer.text
        if answer.json()["state"] == "done":
            return answer.json()
        await asyncio.sleep(0.05)


async def test_somebody_takes_their_data_along_and_is_erased(doors: Doors) -> None:
    employee, partner, admin = [await doors.client(f"{who}@acme") for who in ("employee", "partner", "admin")]
    said = await employee.post("/v1/chat", json={"message": "My grandmother's name is Zyxquet."})
    assert said.json()["status"] == "completed"
    own = await employee.get("/v1/me/export")
    assert (own.status_code, own.headers["content-type"]) == (200, "application/zip")
    assert b"Zyxquet" in entries(own.content, "messages")
    theirs = await partner.post("/v1/privacy/export", json=PERSON)
    assert b"Zyxquet" in entries(theirs.content, "messages")
    assert b"privacy_export_own" in entries(theirs.content, "activity")
    recorded = (await partner.get(f"/v1/activity/{theirs.headers['x-call-id']}")).json()
    assert (recorded["tool"], recorded["arguments"]) == ("privacy_export", PERSON)

    asked = await partner.post("/v1/privacy/erasures", json=PERSON)
    assert asked.status_code == 202, asked.text
    decision = f"/v1/approvals/{asked.json()['approval_id']}/decision"
    problem_of(await partner.post(decision, json={"decision": "approve"}), 403, "denied")
    approved = await admin.post(decision, json={"decision": "approve"})
    assert approved.json()["call"]["outcome"] == "done", approved.text
    erasure = await done(partner, approved.json()["call"]["result"]["erasure_id"])
    assert erasure["removed"]["conversations"] == 1
    assert erasure["requested_by"] == "partner@acme.example"
    listed = (await partner.get("/v1/privacy/erasures")).json()["items"]
    assert listed == [erasure]

    assert (await employee.get("/v1/me")).status_code in {401, 403}
    after = await partner.post("/v1/privacy/export", json={"person": f"erased-{erasure['user_id']}@erased.invalid"})
    assert entries(after.content, "messages") == b""
    assert b"Zyxquet" not in after.content
    assert b'"tool":"task_create"' not in entries(after.content, "conversations")
    call = entries(after.content, "activity")
    assert b"privacy_export_own" in call
    assert b"acme.example" not in call


async def test_who_may_not_and_what_makes_no_sense_is_told(doors: Doors) -> None:
    manager, partner, stranger = [
        await doors.client(who) for who in ("manager@acme", "partner@acme", "partner@borealis")
    ]
    problem_of(await manager.post("/v1/privacy/export", json=PERSON), 403, "denied")
    problem_of(await manager.post("/v1/privacy/erasures", json=PERSON), 403, "denied")
    assert (await manager.get("/v1/privacy/erasures")).json()["items"] == []
    problem_of(await stranger.post("/v1/privacy/export", json=PERSON), 404, "assignee_not_found")
    problem_of(await partner.post("/v1/privacy/export", json={}), 422, "invalid_arguments")
    problem_of(await partner.get("/v1/me/export", headers={"Accept": "text/html"}), 406, "not_acceptable")
    problem_of(await partner.get(f"/v1/privacy/erasures/{uuid4()}"), 404, "not_found")
    service = await doors.client("partner@acme", "service")
    problem_of(await service.get("/v1/me/export"), 403, "denied")
    problem_of(await service.post("/v1/privacy/erasures", json=PERSON), 403, "denied")


def test_commands_hand_out_and_have_erased(glow: Glow, tmp_path: Path) -> None:
    own, theirs = tmp_path / "own.zip", tmp_path / "theirs.zip"
    assert glow("privacy", "export", *FIRM, "--user", "employee@acme.example", "--out", str(own)) == 0
    assert f"Written to {own}" in glow.out
    assert own.stat().st_mode & 0o077 == 0
    assert b"employee@acme.example" in entries(own.read_bytes(), "person")
    assert glow("privacy", "export", *PARTNER, "--person", "employee@acme.example", "--out", str(theirs)) == 0
    assert entries(theirs.read_bytes(), "person") == entries(own.read_bytes(), "person")
    refused = glow("privacy", "export", *FIRM, "--user", "manager@acme.example", "--person", "employee@acme.example")
    assert refused == 1
    assert "role_too_low" in glow.err
    assert glow("privacy", "list", *PARTNER) == 0
    assert "Nobody was erased" in glow.out
    assert glow("privacy", "erase", *PARTNER, "--person", "readonly@acme.example") == 0
    assert "It waits for a second PARTNER" in glow.out
    approval = glow.out.split("approvals approve ")[1].split()[0]
    assert glow("approvals", "approve", approval, *PARTNER) == 1
    assert "four_eyes_needed" in glow.err
    assert glow("approvals", "approve", approval, *FIRM, "--user", "admin@acme.example", "--json") == 0
    assert glow("privacy", "list", *PARTNER, "--json") == 0
    assert [item["state"] for item in glow.json["items"]] == ["asked"]
    assert glow("privacy", "erase", *PARTNER, "--person", "nobody@acme.example") == 1
