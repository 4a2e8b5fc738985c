"""A new user who types what README.md says beside a running demo sees what README.md shows."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.main import get_group

from domain.resources import resource_folder
from server.cli.main import app
from server.settings import load_settings
from tests.doors.test_cli_serving import GLOW, folder, glow, port
from tests.support.environment import bare_environment, names_of_settings
from tests.support.readme import Command, Ids, commands_of, demos_of, python_of

__all__ = ["folder", "port"]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`\.venv/bin/glow ([^`]+)`")
ENDED = "<the command has ended>"

needs_a_shell = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("curl") is None, reason="the README's commands need bash and curl"
)


class Shell:
    """A reader's terminal."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def type(self, line: str) -> str:
        """What a command prints, errors too."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\necho; echo '{ENDED}'\n")
        self._process.stdin.flush()
        printed: list[str] = []
        for said in self._process.stdout:
            if said.strip() == ENDED:
                return "".join(printed)
            printed.append(said)
        raise AssertionError("".join(printed))


@contextmanager
def shell(folder: Path, port: int) -> Generator[Shell]:
    """bash, in which programs, `manifests` and `audit` are this tree's, and `.glow` is the demo's on another port."""
    kept = {name: value for name, value in os.environ.items() if name not in names_of_settings()}
    root = str(resource_folder("manifests").parent)
    (folder / "client.py").write_text(python_of(README), encoding="utf-8")
    (folder / "glow.py").write_text(GLOW, encoding="utf-8")
    for name in ("manifests", "audit"):
        (folder / name).symlink_to(resource_folder(name))
    (folder / ".glow").symlink_to(folder / "home")
    environment = {**kept, "PYTHONPATH": root, "GLOW_HOME": str(folder / "home")}
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
    ) as process:
        try:
            yield Shell(process)
        finally:
            process.kill()


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _typed(line: str, port: int) -> str:
    programs = {"glow": f"{sys.executable} glow.py", "python": sys.executable}
    placed = re.sub(r"\.venv/bin/(glow|python)", lambda found: programs[found[1]], line)
    return placed.replace(_url(8000), _url(port))


def test_the_readme_shows_commands_with_their_output() -> None:
    shown = [each for each in commands_of(README) if each.shows is not None]
    assert len(shown) >= 8, shown


@pytest.mark.parametrize("given", list(demos_of(README)), ids=lambda given: " ".join(given))
def test_every_setting_that_the_readme_begins_the_demo_with_is_one_and_whole(
    given: dict[str, str], tmp_path: Path
) -> None:
    assert set(given) <= set(names_of_settings())
    with bare_environment(tmp_path) as environment:
        for name, value in given.items():
            environment.setenv(name, "given" if value == "..." else value)
        assert (load_settings().hosted_model is None) == ("GLOW_MODEL" not in given)


@pytest.mark.parametrize("words", NAMED.findall(README))
def test_every_command_that_a_sentence_of_the_readme_names_has_the_options_it_needs(words: str) -> None:
    glow = get_group(app)
    context = glow.make_context("glow", words.split())
    name, command, rest = glow.resolve_command(context, words.split())
    assert command is not None
    command.make_context(name, rest, parent=context)


@needs_a_shell
@pytest.mark.timeout(600)
def test_every_command_of_the_readme_prints_what_it_shows(folder: Path, port: int) -> None:
    ids = Ids()
    with glow(folder, {"GLOW_HOME": str(folder / "home")}, "demo", "--port", str(port)) as demo:
        demo.until("Ctrl-C stops")
        with shell(folder, port) as reader:
            for each in commands_of(README):
                _read_along(reader, each, ids, port)
        assert demo.stop(signal.SIGINT) == 0


def _read_along(reader: Shell, each: Command, ids: Ids, port: int) -> None:
    printed = reader.type(_typed(ids.into(each.line), port))
    if each.shows is not None:
        shows = each.shows.replace(_url(8000), _url(port))
        assert ids.hold(shows, printed), f"$ {each.line}\nREADME.md shows:\n{shows}\n\nprinted:\n{printed}"
