"""What an operator changes while the server runs, from outside: limits, sizes, and readiness when the file breaks."""

from pathlib import Path

from server.health import readiness_of
from server.system_config import SystemConfigFile
from tests.support.doors import Doors, problem_of


async def test_limits_and_sizes_change_while_the_server_runs(doors: Doors, tmp_path: Path) -> None:
    client = await doors.client()
    config = doors.hub.config
    config.path = tmp_path / "system.yaml"
    file = {"file": ("notes.txt", b"x" * 1_500_000, "text/plain")}

    config.path.write_text("uploads: {file_mib: 1}\n", encoding="utf-8")
    config.reread()
    problem_of(await client.post("/v1/knowledge/documents", files=file), 413, "too_large")

    config.path.write_text("uploads: {file_mib: 2}\nlimits: {runs: 1}\n", encoding="utf-8")
    config.reread()
    assert (await client.post("/v1/knowledge/documents", files=file)).status_code == 202
    assert (await client.post("/v1/chat", json={"message": "hello"})).status_code == 200


async def test_a_broken_file_is_said_by_readiness_and_stops_nothing(doors: Doors, tmp_path: Path) -> None:
    config = doors.hub.config
    config.path = tmp_path / "system.yaml"
    config.path.write_text("limits: {runs: none}\n", encoding="utf-8")
    config.reread()

    shown = await readiness_of(doors.hub, runs_worker=False)

    assert (shown.status, shown.dependencies["configuration"].state) == ("ready", "outdated")
    assert "runs" not in shown.dependencies["configuration"].detail, "anybody may ask; what is wrong stands in the log"
    assert (await (await doors.client()).post("/v1/chat", json={"message": "hello"})).status_code == 200


async def test_a_runs_tokens_are_priced_where_its_model_has_a_price(doors: Doors, tmp_path: Path) -> None:
    client = await doors.client()
    run_id = (await client.post("/v1/chat", json={"message": "hello"})).json()["run_id"]
    assert "cost_usd" not in (await client.get(f"/v1/runs/{run_id}")).json()["usage"]

    path = tmp_path / "system.yaml"
    path.write_text("prices: {offline: {input: 1, output: 1}}\n", encoding="utf-8")
    doors.hub.config.current = SystemConfigFile.open(path).current

    assert (await client.get(f"/v1/runs/{run_id}")).json()["usage"]["cost_usd"] == 0
