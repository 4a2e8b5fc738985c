"""The embedded PostgreSQL started by root: it runs as an account without rights, which must reach what it needs."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from server.database.binaries import (
    PACKAGE,
    Account,
    Binaries,
    for_account,
    installed,
    reachable,
    run,
    server_account,
)
from server.database.embedded import EmbeddedOptions, embedded
from server.home import GlowHome

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="says what root does")

FAST = {"fsync": "off"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other accounts may pass through."""
    made = Path(tempfile.mkdtemp(prefix="glow-root-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def closed(folder: Path) -> Path:
    """A folder that only root may enter, like root's own home on most systems."""
    made = folder / "closed"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def nobody() -> Account:
    """The account that is used when nothing says another."""
    entry = pwd.getpwnam("nobody")
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, name="nobody")


def test_the_server_runs_as_nobody_and_root_keeps_the_secrets(folder: Path, nobody: Account) -> None:
    home = GlowHome(folder / "home")
    with embedded(home, EmbeddedOptions(settings=FAST)) as server:
        pid = int((server.cluster.data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
        process = psutil.Process(pid)
        assert set(process.uids()) == {nobody.uid}
        assert set(process.gids()) == {nobody.gid}
        groups = Path(f"/proc/{pid}/status").read_text(encoding="ascii").split("Groups:")[1].splitlines()[0]
        assert groups.strip() == ""
        assert server.cluster.data.stat().st_uid == nobody.uid
    assert (home.path / "secrets.json").stat().st_uid == 0


def test_the_server_does_not_inherit_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden")
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    with embedded(GlowHome(folder / "home"), EmbeddedOptions(settings=FAST)) as server:
        pid = (server.cluster.data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0]
        assert b"sk-hidden" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_below_a_closed_folder_the_data_lies_where_nobody_can_reach_it(folder: Path, closed: Path) -> None:
    home, options = GlowHome(closed / "home"), EmbeddedOptions(settings=FAST, root_store=folder / "store")
    with embedded(home, options) as server:
        assert server.superuser("SELECT 1") == "1"
        assert folder / "store" / "homes" in server.cluster.folder.parents
    with embedded(home, options) as again:
        assert again.cluster.folder == server.cluster.folder


def test_a_home_that_was_removed_starts_afresh(folder: Path, closed: Path) -> None:
    home, options = GlowHome(closed / "home"), EmbeddedOptions(settings=FAST, root_store=folder / "store")
    with embedded(home, options) as server:
        pass
    shutil.rmtree(home.path)
    with embedded(home, options) as fresh:
        assert fresh.superuser("SELECT 1") == "1"
        assert fresh.cluster.folder != server.cluster.folder


def test_a_data_folder_keeps_the_account_it_was_made_by(folder: Path) -> None:
    data = folder / "postgres-18"
    data.mkdir()
    os.chown(data, 1, 1)
    account = server_account(data)
    assert account is not None
    assert account.uid == 1


@pytest.mark.parametrize("major", [18, 16])
def test_programs_below_a_closed_folder_are_copied_once_and_run(
    folder: Path, closed: Path, nobody: Account, major: int
) -> None:
    source = installed(major)
    packages = closed / "site-packages"
    _link(source.package, packages / PACKAGE)
    _link(source.package.with_name(f"{PACKAGE}.libs"), packages / f"{PACKAGE}.libs")
    hidden = Binaries(package=packages / PACKAGE, major=major)
    copied = for_account(hidden, nobody, folder / "store")
    assert copied != hidden
    assert reachable(copied.installation / "bin", nobody)
    for program in ("postgres", "initdb", "pg_ctl", "psql"):
        shown = run([copied.program(program), "--version"], account=nobody)
        assert f"PostgreSQL) {major}" in shown.stdout, shown.stderr
    assert for_account(hidden, nobody, folder / "store") == copied


def test_programs_that_can_be_reached_are_used_where_they_are(nobody: Account) -> None:
    source = installed(18)
    if not reachable(source.installation, nobody):
        pytest.skip("this Python lies below a closed folder")
    assert for_account(source, nobody, Path("/nonexistent")) == source


def _link(source: Path, target: Path) -> None:
    """A copy that costs nothing: hard links."""
    shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
