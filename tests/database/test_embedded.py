"""The embedded PostgreSQL: shared by the processes of a home, stopped by the last, and started after any death."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from server.database.cluster import SUPERUSER
from server.database.connection import connected
from server.database.embedded import EmbeddedOptions, EmbeddedServer, acquire, embedded
from server.database.errors import EmbeddedFailed
from server.home import GlowHome, source_root
from server.logins import Login

FAST = {"fsync": "off"}
OPTIONS = EmbeddedOptions(settings=FAST)

HOLDER = """
import sys
from pathlib import Path
from server.database.embedded import EmbeddedOptions, embedded
from server.home import GlowHome
with embedded(GlowHome(Path(sys.argv[1])), EmbeddedOptions(settings={"fsync": "off"})) as server:
    print(server.address.port, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def home() -> Iterator[GlowHome]:
    """A home that the tests of this module leave, each, stopped and whole; made once, since initdb takes a second."""
    with made_home() as made:
        yield made


@pytest.fixture
def new_home() -> Iterator[GlowHome]:
    """A home of one test's own, not made yet."""
    with made_home() as made:
        yield made


@contextmanager
def made_home() -> Generator[GlowHome]:
    """A home that other accounts may pass through (pytest's own folders are closed to them)."""
    folder = Path(tempfile.mkdtemp(prefix="glow-embedded-"))
    folder.chmod(0o711)
    yield GlowHome(folder / "home")
    shutil.rmtree(folder)


@contextmanager
def holder(home: GlowHome) -> Generator[tuple[subprocess.Popen[str], int]]:
    """Another process with a share of the server, and the port it was told; closing its input ends it in order."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=source_root(),
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def postmaster(server: EmbeddedServer) -> psutil.Process:
    """The process that the pid file names."""
    pid_file = server.cluster.data / "postmaster.pid"
    return psutil.Process(int(pid_file.read_text(encoding="ascii").splitlines()[0]))


def is_running(server: EmbeddedServer) -> bool:
    """Whether any process of PostgreSQL still works in the data folder."""
    folder = str(server.cluster.data)
    return any(process.info["cwd"] == folder for process in psutil.process_iter(["cwd"]))


def kill_server(server: EmbeddedServer) -> None:
    """kill -9, which leaves the pid file and, for a moment, orphaned backends."""
    postmaster(server).send_signal(signal.SIGKILL)


@pytest.mark.parametrize("major", [18, 16])
async def test_each_login_is_what_it_must_be(new_home: GlowHome, major: int) -> None:
    with embedded(new_home, EmbeddedOptions(major=major, settings=FAST)) as server:
        for login in Login:
            async with connected(server.dsn(login)) as connection:
                assert await connection.fetchval("SELECT session_user") == login
                assert (await connection.fetchval("SHOW server_version")).startswith(str(major))
        rights = server.superuser(
            "SELECT bool_or(rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole OR rolreplication) "
            "FROM pg_roles WHERE rolname LIKE 'glow%'"
        )
        assert rights == "f"
        facts = "SELECT pg_encoding_to_char(encoding), datdba::regrole FROM pg_database WHERE datname = 'glow'"
        assert server.superuser(facts) == "UTF8|glow_owner"


def test_it_listens_on_loopback_only_and_asks_for_a_password(home: GlowHome) -> None:
    with embedded(home, OPTIONS) as server:
        assert server.superuser("SHOW listen_addresses") == "127.0.0.1"
        assert server.superuser("SHOW unix_socket_directories") == ""
        methods = server.superuser("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
        assert methods == "scram-sha-256"


def test_no_password_is_written_to_the_log(home: GlowHome) -> None:
    with embedded(home, EmbeddedOptions(settings={**FAST, "log_statement": "all"})) as server:
        log = server.cluster.log.read_text(encoding="utf-8")
    assert not [role for role, password in server.address.passwords.items() if password in log]


def test_the_last_one_out_stops_the_server(home: GlowHome) -> None:
    first, second = acquire(home, OPTIONS), acquire(home, OPTIONS)
    assert first.address.port == second.address.port
    first.release()
    assert second.superuser("SELECT 1") == "1"
    second.release()
    assert not is_running(second)
    second.release()


def test_another_process_keeps_the_server_running(home: GlowHome) -> None:
    with holder(home) as (process, port):
        server = acquire(home, OPTIONS)
        assert server.address.port == port
        server.release()
        assert is_running(server)
        process.communicate()
        assert process.returncode == 0
        assert not is_running(server)


def test_a_killed_process_leaves_a_server_that_the_next_takes_over_and_stops(home: GlowHome) -> None:
    with holder(home) as (process, port):
        process.kill()
        process.wait()
    with embedded(home, OPTIONS) as server:
        assert server.address.port == port
        assert server.superuser("SELECT 1") == "1"
    assert not is_running(server)


def test_a_killed_server_is_started_anew_at_once_with_its_data_and_port(home: GlowHome) -> None:
    with embedded(home, OPTIONS) as survivor:
        survivor.superuser("CREATE TABLE kept AS SELECT 42 AS answer")
        kill_server(survivor)
        with embedded(home, OPTIONS) as server:
            assert server.superuser("SELECT answer FROM kept") == "42"
            # A process that outlived the killed server finds the new one where the old one was.
            assert survivor.superuser("SELECT answer FROM kept") == "42"
    assert not is_running(survivor)


def test_releasing_after_the_server_was_killed_leaves_a_home_that_starts(home: GlowHome) -> None:
    with embedded(home, OPTIONS) as server:
        kill_server(server)
    assert not is_running(server)
    with embedded(home, OPTIONS) as server:
        assert server.superuser("SELECT 1") == "1"


def test_a_stale_pid_file_that_names_another_live_process_is_seen_through(home: GlowHome) -> None:
    with embedded(home, OPTIONS) as server:
        lines = (server.cluster.data / "postmaster.pid").read_text(encoding="ascii").splitlines()
    pid_file = server.cluster.data / "postmaster.pid"
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]), encoding="ascii")
    with embedded(home, OPTIONS) as server:
        assert server.superuser("SELECT 1") == "1"
        assert postmaster(server).pid != os.getpid()


def test_stopping_never_signals_a_process_that_is_no_postgresql(home: GlowHome) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        with embedded(home, OPTIONS) as server:
            kill_server(server)
            psutil.wait_procs([postmaster(server)], timeout=10)
            pid_file = server.cluster.data / "postmaster.pid"
            lines = pid_file.read_text(encoding="ascii").splitlines()
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]), encoding="ascii")
        assert stranger.poll() is None
        stranger.communicate(b"\n")
        assert stranger.returncode == 0


def test_a_half_made_data_folder_is_made_again(new_home: GlowHome) -> None:
    new_home.ensure()
    (new_home.path / ".new-interrupted" / "data").mkdir(parents=True)
    with embedded(new_home, OPTIONS) as server:
        assert server.superuser("SELECT 1") == "1"
    assert not list(new_home.path.glob(".new-*"))


def test_many_at_once_share_one_server(new_home: GlowHome) -> None:
    with ThreadPoolExecutor(max_workers=8) as threads:
        servers = list(threads.map(acquire, [new_home] * 8, [OPTIONS] * 8))
        assert len({server.address.port for server in servers}) == 1
        list(threads.map(EmbeddedServer.release, servers))
    assert not is_running(servers[0])


def test_a_lost_secrets_file_says_what_to_do_and_leaves_nothing_running(new_home: GlowHome) -> None:
    with embedded(new_home, OPTIONS) as server:
        pass
    (new_home.path / "secrets.json").unlink()
    with pytest.raises(EmbeddedFailed, match=r"put that file back, or remove the folder"):
        acquire(new_home, OPTIONS)
    assert not is_running(server)


def test_a_setting_that_the_server_refuses_is_reported_with_its_own_words(home: GlowHome) -> None:
    with pytest.raises(EmbeddedFailed, match="no_such_setting"):
        acquire(home, EmbeddedOptions(settings={"no_such_setting": "1"}))


def test_a_bootstrap_that_was_cut_short_is_done_again(home: GlowHome) -> None:
    with embedded(home, OPTIONS) as server:
        server.superuser("COMMENT ON DATABASE glow IS NULL; ALTER ROLE glow_app CREATEDB")
    with embedded(home, OPTIONS) as server:
        assert server.superuser("SELECT rolcreatedb FROM pg_roles WHERE rolname = 'glow_app'") == "f"


def test_the_superuser_is_none_of_the_logins() -> None:
    assert SUPERUSER not in set(Login)
