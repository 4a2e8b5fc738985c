"""`glow policy list|add|remove` on a real database, and a dry run over all that was recorded."""

import json
import shutil
from pathlib import Path

import pytest

from domain.resources import resource_folder
from server.database.connection import connected
from tests.doors.test_cli_commands import Glow, firm, glow, installation
from tests.support.database import Database, run_apart
from tests.support.environment import unused_port

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


DEEP = "forbid (principal, action, resource) when { " + "(" * 5_000 + "true" + ")" * 5_000 + " };"
SHUT: dict[str, tuple[str, str]] = {
    "does not parse": ("ours.cedar", '@id("ours")\nforbid (principal, action resource);'),
    "is not shut": ("ours.cedar", '@id("ours")\nforbid (principal, action, resource) when { (true };'),
    "is nested too deeply": ("ours.cedar", f'@id("ours")\n{DEEP}'),
    "is a chain too long": (
        "ours.cedar",
        '@id("ours")\nforbid (principal, action, resource) when { 1' + " + 1" * 2_000 + " == 1 };",
    ),
    "has no id": ("ours.cedar", "forbid (principal, action, resource);"),
    "speaks of a fact that there is not": (
        "ours.cedar",
        '@id("ours")\nforbid (principal, action, resource) when { context.moon == "full" };',
    ),
    "is of another kind": ("notes.txt", "To be done."),
    "has another schema": ("schema.cedarschema", "entity " + "Set<" * 3_000),
    "is no text": ("ours.cedar", "\udc80"),
}
"""One file more, or another, in a folder of policies that can be used."""


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["for people", "for machines"])
@pytest.mark.parametrize("what", SHUT)
def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_asked(
    glow: Glow, firm: Database, tmp_path: Path, what: str, as_json: tuple[str, ...]
) -> None:
    folder = tmp_path / "proposed"
    shutil.copytree(resource_folder("manifests") / "policies", folder)
    name, text = SHUT[what]
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    before = replays_of(firm)
    assert glow("policy", "replay", "--policies", str(folder), *ADMIN, *as_json) == 2
    assert glow.out == ""
    assert name in glow.err or "moon" in glow.err
    assert len(glow.err) < 2_000
    assert replays_of(firm) == before


@pytest.mark.parametrize("made", [True, False], ids=["empty", "none"])
def test_a_folder_without_policies_is_none_of_policies(glow: Glow, tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "proposed"
    if made:
        folder.mkdir()
    assert glow("policy", "replay", "--policies", str(folder), *ADMIN) == 2
    assert glow.out == ""
    assert "has no schema.cedarschema" in glow.err
    assert "has no policies" in glow.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXT.replace("};", ";"), "unexpected"),
        (TEXT.replace("{ principal", "{ (principal"), "unexpected"),
        (TEXT.replace("principal.door", "(" * 3_000 + "principal.door"), "brackets"),
        (TEXT.replace("forbid", "permit"), "it permits"),
        (TEXT + TEXT, "2 policies"),
        ("", "no policies"),
        (TEXT.replace("principal.door", "context.moon"), "moon"),
    ],
)
def test_a_policy_of_ones_own_that_is_none_is_refused_before_anything_is_asked(
    glow: Glow, firm: Database, tmp_path: Path, text: str, told: str
) -> None:
    written = tmp_path / "ours.cedar"
    written.write_text(text, encoding="utf-8")
    before = replays_of(firm)
    assert glow("policy", "replay", "--add", str(written), *ADMIN) == 2
    assert glow.out == ""
    assert told in " ".join(glow.err.split())
    assert replays_of(firm) == before


def replays_of(database: Database) -> int:
    """How many times it was asked what a policy would have decided."""

    async def ask() -> int:
        async with connected(database.dsn("postgres")) as connection:
            return await connection.fetchval("SELECT count(*) FROM activity_events WHERE tool = 'policy_replay'")

    return run_apart(ask())


def test_the_doctor_names_a_policy_that_an_upgrade_has_left_without_its_fact_or_its_tool(
    glow: Glow, firm: Database, tmp_path: Path
) -> None:
    def findings() -> list[dict[str, str]]:
        glow("doctor", "--port", str(unused_port()), "--json")
        return [each for each in glow.json["items"] if each["part"] == "policies"]

    def bend(old: str, new: str) -> None:
        """As though the policy had been put in force by a version that had that."""

        async def change() -> None:
            async with connected(firm.dsn("postgres")) as connection:
                await connection.execute("SET session_replication_role = replica")
                await connection.execute(
                    "UPDATE organization_policies SET text = replace(text, $2, $3) WHERE policy_id = $1",
                    "no_tasks_by_command",
                    old,
                    new,
                )

        run_apart(change())

    before = findings()
    assert [each["state"] for each in before] in ([], ["ok"])
    written = tmp_path / "ours.cedar"
    written.write_text(TEXT, encoding="utf-8")
    assert glow("policy", "add", str(written), *ADMIN, "--reason", "quarter end") == 0
    assert [(each["state"], "all usable" in each["says"]) for each in findings()] == [("ok", True)]
    for old, new, told in (
        ("principal.door", "context.moon", "so that its calls are denied (policy_error)"),
        ('"task_create"', '"task_make"', "speaks of task_make, which there is not"),
        ('"call"', '"calls"', "so that its calls are denied (policy_error)"),
    ):
        bend(old, new)
        (found,) = findings()
        assert found["state"] == "wrong"
        assert "acme-audit's own no_tasks_by_command" in found["says"]
        assert told in found["says"]
        assert "glow policy remove no_tasks_by_command" in found["mend"]
        bend(new, old)
    bend("principal.door", "context.moon")
    assert glow("policy", "remove", "no_tasks_by_command", *ADMIN, "--reason", "it fits no more") == 0
    assert findings() == before


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
