"""`glow schedules` on a real database: a manager's own hand sets them up, everybody of the firm sees them."""

from tests.doors.test_cli_commands import Glow, firm, glow, installation

__all__ = ["firm", "glow", "installation"]

FIRM = ("--organization", "acme-audit")
MANAGER = (*FIRM, "--user", "manager@acme.example")
EMPLOYEE = (*FIRM, "--user", "employee@acme.example")


def test_a_schedule_is_created_paused_resumed_and_deleted_by_commands(glow: Glow) -> None:
    assert (
        glow("tools", "call", "task_create", *MANAGER, "--arguments", '{"title": "R", "kind": "refresh_analytics"}')
        == 0
    )
    task_id = glow.json["task"]["task_id"]
    create = ("schedules", "create", task_id, "0 7 * * MON", "--time-zone", "Europe/Malta")
    assert glow(*create, *EMPLOYEE) == 1
    assert "role_too_low" in glow.err
    assert glow("schedules", "create", task_id, "7 o'clock", *MANAGER) == 1
    assert "five fields" in glow.err
    assert glow(*create, *MANAGER, "--json") == 0
    schedule_id = glow.json["result"]["schedule"]["schedule_id"]
    assert glow("schedules", "list", *EMPLOYEE) == 0
    assert "0 7 * * MON" in glow.out
    assert glow("schedules", "pause", schedule_id, *MANAGER) == 0
    assert glow.out.endswith("paused.\n")
    assert glow("schedules", "resume", schedule_id, *MANAGER) == 0
    assert "due next at" in glow.out
    assert glow("schedules", "delete", schedule_id, *MANAGER) == 0
    assert glow("schedules", "list", *EMPLOYEE, "--json") == 0
    assert schedule_id not in str(glow.json)
