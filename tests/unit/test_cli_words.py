"""What `glow` says and how it exits where no database is asked: usage, manifests, settings, errors in plain words."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from server.cli.failure import CommandFailed
from server.cli.faults import words_for
from server.cli.listening import local_url
from server.cli.main import main
from server.cli.printing import plain
from server.cli.tokens import lifetime_of
from server.database.errors import DatabaseUnavailable
from tests.support.environment import bare_environment, unused_port

COMMANDS = (
    "chat",
    "mcp",
    "approvals",
    "tasks",
    "agents",
    "openapi",
    "serve",
    "worker",
    "demo",
    "token",
    "ingest",
    "search",
    "migrate",
    "doctor",
    "tools",
)


@pytest.fixture(autouse=True)
def installation(tmp_path: Path) -> Iterator[Path]:
    """An installation of the test's own, which no setting of this machine reaches."""
    with bare_environment(tmp_path):
        yield tmp_path


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["token"],
        ["search", "letter"],
        ["serve", "--port", "70000"],
        ["ingest", "/nowhere/at/all", "--organization", "acme-audit"],
        ["token", "--organization", "acme-audit", "--user", "a@b.example", "--for", "service"],
        ["token", "--organization", "acme-audit", "--user", "a@b.example", "--expires", "soon"],
        ["tools", "call", "task_list", "--organization", "acme-audit", "--arguments", "{"],
        ["tools", "call", "task_list", "--organization", "acme-audit", "--arguments", '{"limit": NaN}'],
        ["tools", "call", "task_list", "--organization", "acme-audit", "--arguments", "@/nowhere"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_says_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert "Usage: glow" in shown.err
    assert shown.out == ""


def test_a_command_starts_fast_because_it_imports_only_its_own_work() -> None:
    asked = (
        "import sys, server.cli.main; print(sorted({'asyncpg', 'fastapi', 'mcp', 'openai', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_tools_are_listed_for_people_and_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "list"]) == 0
    assert "knowledge_search" in capsys.readouterr().out
    assert main(["tools", "list", "--json"]) == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)["items"]}
    assert listed["task_create"]["effect"] == "prepare"
    assert listed["task_create"]["arguments"]["additionalProperties"] is False


def test_one_tool_is_shown_and_an_unknown_one_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "show", "call_get"]) == 0
    assert "call_get (version 1): Look at a call" in capsys.readouterr().out
    assert main(["tools", "show", "call_get", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "call_get"
    assert main(["tools", "show", "rm_rf"]) == 1
    assert capsys.readouterr().err == "glow: there is no tool named 'rm_rf'\n"


def test_manifests_are_validated_without_a_database(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "validate"]) == 0
    assert "in order" in capsys.readouterr().out


def test_the_bootstrap_is_printed_and_nothing_else_is_done(
    capsys: pytest.CaptureFixture[str], installation: Path
) -> None:
    assert main(["migrate", "--bootstrap-sql"]) == 0
    assert "CREATE ROLE glow_app" in capsys.readouterr().out
    assert list(installation.iterdir()) == []


def test_settings_that_cannot_be_used_are_told_plainly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert main(["search", "letter", "--organization", "acme-audit"]) == 1
    shown = capsys.readouterr().err
    assert "GLOW_MODEL" in shown
    assert "Traceback" not in shown
    assert "sk-secret" not in shown


def test_a_database_that_does_not_answer_is_told_plainly_and_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "GLOW_OWNER_DATABASE_URL", "GLOW_RECORDER_DATABASE_URL", "GLOW_SERVICE_DATABASE_URL"):
        monkeypatch.setenv(name, "postgresql://somebody:hunter2@127.0.0.1:1/glow")
    assert main(["migrate"]) == 1
    shown = capsys.readouterr().err
    assert "127.0.0.1:1/glow" in shown
    assert "hunter2" not in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("workers", ["0", "-1", "x", "", "2.5", "65", "1000000000000"])
def test_a_number_of_processes_that_cannot_be_is_wrong_usage(
    workers: str, capsys: pytest.CaptureFixture[str], installation: Path
) -> None:
    assert main(["serve", "--workers", workers]) == 2
    assert "Invalid value for '--workers'" in capsys.readouterr().err
    assert list(installation.iterdir()) == []


@pytest.mark.parametrize("command", [["serve"], ["serve", "--workers", "2"], ["demo"]])
def test_a_port_that_is_taken_is_told_before_anything_starts(
    command: list[str], capsys: pytest.CaptureFixture[str], taken_port: int, installation: Path
) -> None:
    assert main([*command, "--port", str(taken_port)]) == 1
    assert f"cannot listen on 127.0.0.1:{taken_port}" in capsys.readouterr().err
    assert list(installation.iterdir()) == []


def test_the_demo_never_runs_beside_a_firm_s_own_data(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://glow_app:secret@db.example/glow")
    assert main(["demo", "--port", str(unused_port())]) == 1
    assert "embedded database of its own" in capsys.readouterr().err


def test_the_doctor_finds_every_problem_of_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOW_JWT_SECRET", "short")
    monkeypatch.setenv("GLOW_PUBLIC_URL", "nonsense")
    assert main(["doctor", "--port", str(unused_port()), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["items"]
    wrong = [item["says"] for item in found if item["state"] == "wrong"]
    assert any("GLOW_JWT_SECRET" in says for says in wrong)
    assert any("GLOW_PUBLIC_URL" in says for says in wrong)
    assert all(item["mend"] for item in found if item["state"] == "wrong")


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1h", timedelta(hours=1)),
        ("30d", timedelta(days=30)),
    ],
)
def test_a_lifetime_is_a_number_and_a_unit(text: str, lifetime: timedelta) -> None:
    assert lifetime_of(text) == lifetime


@pytest.mark.parametrize("text", ["", "0h", "-1h", "1", "h", "1w", "1.5h", "1h30m", "367d", "999999999d"])
def test_any_other_lifetime_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        lifetime_of(text)


def test_nothing_that_a_terminal_would_obey_is_printed() -> None:
    hostile = "a\x1b[2Jb\x9b31mc\u202ed\te\nf\r\x07é\N{EURO SIGN}"
    shown = plain(hostile)
    assert not set(shown) & set("\x1b\x9b\u202e\r\x07")
    assert shown.replace("\N{REPLACEMENT CHARACTER}", "") == "a[2Jb31mcd\te\nfé\N{EURO SIGN}"


def test_words_are_found_for_expected_errors_alone_and_in_groups() -> None:
    away = DatabaseUnavailable("glow_app", "it is away")
    group = BaseExceptionGroup("tasks", [away, CommandFailed("and this")])
    assert words_for(away) == "the database is not available as glow_app: it is away"
    assert words_for(group) == "the database is not available as glow_app: it is away\nand this"


def test_an_error_of_our_own_has_no_plain_words() -> None:
    assert words_for(KeyError("x")) is None
    assert words_for(BaseExceptionGroup("tasks", [CommandFailed("a"), KeyError("x")])) is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("hub.internal", "http://hub.internal:8000"),
    ],
)
def test_a_server_without_a_public_url_names_the_address_it_listens_on(host: str, url: str) -> None:
    assert local_url(host, 8000) == url


def test_the_agents_are_listed_for_people_and_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents", "list"]) == 0
    assert "The tax agent" in capsys.readouterr().out
    assert main(["agents", "list", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["name"] for item in items if item["default"]] == ["assistant"]


def test_tools_are_exported_as_openai_and_mcp_take_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "export", "--format", "openai"]) == 0
    functions = {each["function"]["name"]: each["function"] for each in json.loads(capsys.readouterr().out)}
    assert functions["task_create"]["parameters"]["additionalProperties"] is False
    assert main(["tools", "export", "--format", "mcp"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)["tools"]}
    assert listed["task_create"]["inputSchema"] == functions["task_create"]["parameters"]
    assert "approval_decide" not in functions.keys() | listed.keys()
    assert "agent_handover" in functions.keys() - listed.keys()


def test_the_interfaces_document_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["openapi"]) == 0
    assert "/v1/agents" in json.loads(capsys.readouterr().out)["paths"]


@pytest.mark.parametrize(
    "words", [["approvals", "approve", "x", "--organization", "a", "--user", "b"], ["mcp"], ["chat"]]
)
def test_what_the_new_commands_need_is_said(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Usage: glow" in capsys.readouterr().err
