"""GLOW_HOME: where it is, whom it lets in, and secrets that are made once however many processes ask."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.home import ADDRESS, GlowHome, HomeUnusable, default_home, exclusive, source_root


def test_a_checkout_has_its_home_inside(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "Makefile"):
        (tmp_path / name).touch()
    assert default_home(tmp_path) == tmp_path / ".glow"
    assert default_home(source_root()) == source_root() / ".glow"


@pytest.mark.skipif(os.geteuid() != 0, reason="says where root's home is")
def test_an_installation_of_root_has_its_home_in_var_lib(tmp_path: Path) -> None:
    assert default_home(tmp_path) == Path("/var/lib/glow")


@pytest.mark.skipif(os.geteuid() == 0, reason="says where an ordinary account's home is")
def test_an_installation_has_its_home_in_the_data_folder_of_the_account(tmp_path: Path) -> None:
    assert Path.home() in default_home(tmp_path).parents


def test_what_was_configured_wins_and_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert GlowHome.resolve(Path("here")).path == tmp_path / "here"


def test_the_secrets_are_closed_to_others(tmp_path: Path) -> None:
    home = GlowHome(tmp_path / "home")
    home.make_secret("one")
    assert stat.S_IMODE((home.path / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) & 0o066 == 0


def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    home = GlowHome(tmp_path)
    assert home.secret("one") is None
    made = home.make_secret("one")
    assert home.make_secret("one") == made
    assert home.make_secret("two") != made
    assert home.secret("one") == made
    assert len(made) >= 43


def test_many_at_once_get_the_same_secret(tmp_path: Path) -> None:
    home = GlowHome(tmp_path)
    with ThreadPoolExecutor(max_workers=16) as threads:
        made = {future.result() for future in [threads.submit(home.make_secret, "one") for _ in range(32)]}
    assert len(made) == 1


def test_a_home_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeUnusable, match="set GLOW_HOME to a folder of your own"):
        GlowHome(tmp_path / "file" / "home").ensure()


def test_a_lock_is_held_by_one_at_a_time_and_waiting_ends(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock), pytest.raises(TimeoutError, match="held by another process"), exclusive(lock, wait_s=0.05):
        pass
    with exclusive(lock, wait_s=0.05):
        pass


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    program = (
        "import sys, pathlib; from server.home import exclusive\n"
        f"with exclusive(pathlib.Path({str(lock)!r})):\n  print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=source_root()
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait()
    with exclusive(lock, wait_s=0.05):
        pass


def test_a_home_tells_where_its_server_is_for_as_long_as_it_runs(tmp_path: Path) -> None:
    home = GlowHome(tmp_path / "home")
    assert home.address() is None
    with home.served_at("http://127.0.0.1:9000"):
        assert home.address() == "http://127.0.0.1:9000"
        with home.served_at("http://127.0.0.1:9001"):
            assert home.address() == "http://127.0.0.1:9000"
        assert home.address() == "http://127.0.0.1:9000"
    assert home.address() is None
    with home.served_at("http://h"):
        assert home.address() == "http://h"


def test_a_home_that_cannot_be_made_serves_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = GlowHome(tmp_path / "file" / "home")
    with home.served_at("http://127.0.0.1:9000"):
        assert home.address() is None


def test_a_disk_that_takes_no_address_keeps_nobody_from_serving(tmp_path: Path) -> None:
    home = GlowHome(tmp_path / "home")
    (home.ensure() / ADDRESS).symlink_to("/dev/full")
    with home.served_at("http://127.0.0.1:9000"):
        pass
    assert home.address() is None
