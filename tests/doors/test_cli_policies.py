"""`glow policy list|add|remove` on a real database, and a dry run over all that was recorded."""

import json
from pathlib import Path

from tests.doors.test_cli_commands import Glow, firm, glow, installation

__all__ = ["firm", "glow", "installation"]

FIRM = ("--organization", "acme-audit")
ADMIN = (*FIRM, "--user", "admin@acme.example")
EMPLOYEE = (*FIRM, "--user", "employee@acme.example")
TEXT = """// At the desk only.
@id("no_tasks_by_command")
@says("Tasks are made at the desk.")
forbid (principal, action == Action::"call", resource == Tool::"task_create")
when { principal.door == Door::"cli" };
"""


def test_a_policy_is_tried_put_in_force_and_taken_back_by_commands(glow: Glow, tmp_path: Path) -> None:
    create = ("tools", "call", "task_create", *EMPLOYEE, "--arguments", '{"title": "R"}')
    assert glow(*create) == 0
    written = tmp_path / "ours.cedar"
    written.write_text(TEXT, encoding="utf-8")
    add = ("policy", "add", str(written))
    assert glow(*add, *ADMIN, "--dry-run") == 0
    assert "What would change, by tool and role:" in glow.out
    assert "no_tasks_by_command" in glow.out
    assert glow("policy", "list", *EMPLOYEE) == 0
    assert glow.out.startswith("There are none")

    assert glow(*add, *EMPLOYEE, "--reason", "no") == 1
    assert "role_too_low" in glow.err
    assert glow(*add, *ADMIN) == 2
    assert "say why" in glow.err
    assert glow(*add, *ADMIN, "--reason", "quarter end") == 0
    assert "no_tasks_by_command: in force from the next call on. Tasks are made at the desk." in glow.out
    assert glow(*create) == 1
    assert "no_tasks_by_command" in glow.err
    assert glow(*add, *ADMIN, "--reason", "again") == 1
    assert "say `replace`" in glow.err
    assert glow("policy", "list", *EMPLOYEE) == 0
    assert "quarter end" in glow.out
    explain = ("policy", "explain", "task_create", *EMPLOYEE, "--mode", "person", "--json")
    assert glow(*explain) == 0
    assert (glow.json["decision"], glow.json["reasons"]) == ("deny", ["no_tasks_by_command"])

    assert glow("policy", "remove", "no_tasks_by_command", *ADMIN, "--dry-run", "--json") == 0
    assert {(each["from"], each["to"]) for each in glow.json["by_tool_and_role"]} == {("deny", "allow")}
    assert glow("policy", "remove", "no_tasks_by_command", *ADMIN, "--reason", "it is over") == 0
    assert glow(*create) == 0
    assert glow("policy", "list", *ADMIN, "--history", "--json") == 0
    assert [each["change"] for each in glow.json["items"]] == ["removed", "added"]
    assert glow("policy", "replay", *ADMIN) == 0
    assert "Nothing would change." in glow.out


def test_what_is_no_policy_of_an_organization_is_refused_in_words(glow: Glow, tmp_path: Path) -> None:
    written = tmp_path / "ours.cedar"
    written.write_text(TEXT.replace("forbid", "permit"), encoding="utf-8")
    assert glow("policy", "add", str(written), *ADMIN, "--reason", "more room") == 1
    assert "it permits" in glow.err
    assert glow("policy", "add", str(tmp_path / "none.cedar"), *ADMIN, "--reason", "more room") == 2
    assert "cannot be read" in glow.err
    assert glow("policy", "remove", "nobody", *ADMIN, "--reason", "none") == 1
    assert "no policy of the organization's own" in glow.err


def test_what_a_release_control_would_have_to_be_is_supposed(glow: Glow) -> None:
    asked = ("policy", "explain", "release_submit", *FIRM, "--user", "partner@acme.example", "--json")
    arguments = json.dumps(
        {
            "control": "report_release",
            "engagement_id": "4a0c3f6e-0000-4000-8000-000000000000",
            "evidence": [{"subject": "Report", "version": "1"}],
        }
    )
    for state, reasons in (("pending", ["control_not_satisfied"]), ("satisfied", ["irreversible_needs_approval"])):
        assert glow(*asked, "--arguments", arguments, "--control-state", state) == 0
        assert glow.json["reasons"] == reasons, state
