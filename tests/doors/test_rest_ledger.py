"""The ledger over REST: what is recorded is sealed by the worker, exported, proved, and holds for both verifiers."""

from pathlib import Path

import httpx
import orjson

from tests.support.doors import Doors, problem_of
from tests.support.ocsf import faults_of
from tests.support.verifiers import Found, checked


async def proved(client: httpx.AsyncClient, call_id: str) -> httpx.Response:
    """The proof of a call, once the worker has sealed its events."""
    while True:
        answer = await client.get(f"/v1/activity/{call_id}/proof")
        assert answer.status_code == 200, answer.text
        if answer.json()["events"] and not answer.json()["unsealed"]:
            return answer


async def test_a_call_is_sealed_proved_and_exported(doors: Doors, tmp_path: Path) -> None:
    employee, manager = await doors.client(), await doors.client("manager@acme")
    created = await employee.post("/v1/tasks", json={"title": "Seal this"})
    call_id = created.headers["x-call-id"]
    proof, head, export = tmp_path / "proof.json", tmp_path / "head.json", tmp_path / "export.ndjson"
    proof.write_bytes((await proved(employee, call_id)).content)
    assert [each["event"]["kind"] for each in orjson.loads(proof.read_bytes())["events"]] == [
        "tool.allowed",
        "tool.completed",
    ]
    assert checked(proof) == Found(None)

    kept = await employee.get("/v1/activity/head")
    head.write_bytes(kept.content)
    exported = await manager.get("/v1/activity/export", params={"payloads": "true"})
    assert exported.headers["content-type"] == "application/x-ndjson"
    export.write_bytes(exported.content)
    assert checked(export, [head, proof]) == Found(None)
    rows = [orjson.loads(line) for line in exported.content.splitlines()]
    carried = next(row for row in rows if row["type"] == "event" and row["event"]["call_id"] == call_id)
    assert "Seal this" in carried["payload"]["arguments"]
    plain = await manager.get("/v1/activity/export")
    assert b"Seal this" not in plain.content

    siem = await manager.get("/v1/activity/export", params={"format": "ocsf", "since": str(rows[0]["size"])})
    assert int(siem.headers["x-ledger-size"]) >= rows[0]["size"]
    assert [faults_of(orjson.loads(line)) for line in siem.content.splitlines() if faults_of(orjson.loads(line))] == []
    whole = await manager.get("/v1/activity/export?format=ocsf")
    assert call_id in {orjson.loads(line)["api"]["request"]["uid"] for line in whole.content.splitlines()}
    assert b"Seal this" not in whole.content
    for wrong in ("format=ocsf&payloads=true", "since=1", "format=cef", "format=ocsf&since=9007199254740991"):
        assert (await manager.get(f"/v1/activity/export?{wrong}")).status_code == 422, wrong

    # The export is a call, and its record names the head over what left.
    seen = (await manager.get(f"/v1/activity/{exported.headers['x-call-id']}")).json()
    assert (seen["tool"], seen["result"]["size"]) == ("audit_export", rows[0]["size"])
    since = kept.json()["head"]["size"]
    await proved(manager, exported.headers["x-call-id"])
    later = await manager.get("/v1/activity/head", params={"since": str(since)})
    newer = tmp_path / "newer.json"
    newer.write_bytes(later.content)
    assert later.json()["head"]["size"] > since
    assert checked(newer, [head]) == Found(None)


async def test_the_newest_heads_are_kept_where_the_operator_says_and_where_they_do_not_get_is_told(
    doors: Doors, tmp_path: Path
) -> None:
    config, path = doors.hub.config, tmp_path / "heads.ndjson"
    config.path = tmp_path / "system.yaml"
    place = f"{{name: outside, file: {path}, organizations: [acme-audit]}}"
    config.path.write_text(f"heads: {{every_s: 1, to: [{place}, {{name: away, file: /nowhere/heads}}]}}\n")
    config.reread()
    manager = await doors.client("manager@acme")
    created = await manager.post("/v1/tasks", json={"title": "Kept elsewhere"})
    await proved(manager, created.headers["x-call-id"])
    export = tmp_path / "export.ndjson"
    while not path.exists() or not path.read_bytes().endswith(b"\n"):
        assert (await manager.get("/readiness")).status_code == 200
    export.write_bytes((await manager.get("/v1/activity/export")).content)
    assert checked(export, [path]) == Found(None)
    while True:
        ready = await manager.get("/readiness")
        ledger = ready.json()["dependencies"]["ledger"]
        if ledger["state"] != "ok":
            break
    assert ledger["detail"] == "heads do not get to away: see the log of a worker, or glow doctor"
    assert ready.status_code == 200


async def test_who_may_not_is_refused_and_what_makes_no_sense_told(doors: Doors) -> None:
    employee, manager = await doors.client(), await doors.client("manager@acme")
    for who in ("employee@acme", "client@acme", "readonly@acme"):
        problem_of(await (await doors.client(who)).get("/v1/activity/export"), 403, "denied")
    assert (await (await doors.client("eqr@acme")).get("/v1/activity/export")).status_code == 200
    created = await manager.post("/v1/tasks", json={"title": "A manager's"})
    other = created.headers["x-call-id"]
    problem_of(await employee.get(f"/v1/activity/{other}/proof"), 404, "call_not_found")
    foreign = await doors.client("partner@borealis")
    problem_of(await foreign.get(f"/v1/activity/{other}/proof"), 404, "call_not_found")
    problem_of(await employee.get("/v1/activity/head?since=9007199254740991"), 422, "not_sealed")
    problem_of(await employee.get("/v1/activity/head?since=-1"), 422, "invalid_request")
    wrong = await manager.get("/v1/activity/export", headers={"Accept": "text/html"})
    problem_of(wrong, 406, "not_acceptable")
