"""`glow sources` on a real database: a manager's own hand sets one up, changes and removes it."""

from tests.doors.test_cli_commands import Glow, firm, glow, installation

__all__ = ["firm", "glow", "installation"]

FIRM = ("--organization", "acme-audit")
MANAGER = (*FIRM, "--user", "manager@acme.example")
EMPLOYEE = (*FIRM, "--user", "employee@acme.example")
SITE = '{"urls": ["https://www.example.org/docs/"], "path": "/docs/"}'


def test_a_source_is_set_up_changed_and_removed_by_commands(glow: Glow) -> None:
    add = ("sources", "add", "web", "Guidance", "--settings", SITE, "--cron", "0 7 * * *", *MANAGER)
    assert glow(*add, "--json") == 0
    source_id = glow.json["result"]["source"]["source_id"]
    change = ("sources", "change", source_id)
    assert glow(*change, "--name", "Rules", *EMPLOYEE) == 1
    assert "role_too_low" in glow.err
    assert glow(*change, *MANAGER) == 1
    assert "say what to change" in glow.err
    assert glow(*change, "--settings", '{"urls": ["https://www.example.org/docs/more"]}', *MANAGER) == 1
    assert "another source" in glow.err
    assert glow(*change, "--name", "Rules", "--settings", '{"pages": 500}', "--no-cron", *MANAGER) == 0
    assert glow.out.endswith("(Rules): changed.\n")
    assert glow("sources", "list", *EMPLOYEE, "--json") == 0
    (source,) = [each for each in glow.json["items"] if each["source_id"] == source_id]
    assert (source["name"], source["settings"]["pages"], source["settings"]["path"]) == ("Rules", 500, "/docs/")
    assert glow("schedules", "list", *EMPLOYEE, "--json") == 0
    assert source["task_id"] not in str(glow.json)
    assert glow("sources", "remove", source_id, *MANAGER) == 0
