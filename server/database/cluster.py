"""One data folder of PostgreSQL and the server on it: made, started, asked and stopped by PostgreSQL's own programs."""

import os
import shlex
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

import psutil

from server.database.binaries import Account, Binaries, run
from server.database.errors import EmbeddedFailed
from server.home import wait_until

HOST = "127.0.0.1"
SUPERUSER = "postgres"
START_TIMEOUT_S = 90
CONNECT_TIMEOUT_S = 5
PORT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A data folder and the account, programs and settings of its server; callers hold the start lock."""

    folder: Path
    binaries: Binaries
    account: Account | None
    password: str = field(repr=False)
    settings: Mapping[str, str]

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.folder / "data"

    @property
    def _port_file(self) -> Path:
        return self.folder.with_suffix(".port")

    @property
    def log(self) -> Path:
        """What the server wrote about its own life."""
        return self.folder / "server.log"

    def start(self) -> int:
        """The port of the server, which runs when this returns; started, and made before, if need be.

        Raises  EmbeddedFailed: it cannot be made or started, or one runs there that does not answer.
        """
        self._initialize()
        port = self._settle()
        if port is None:
            port = self._launch()
            self._port_file.write_text(str(port), encoding="ascii")
        return port

    def stop(self) -> None:
        """Ends the server, rolling back what is open; nothing to do where none runs.

        Not by pg_ctl: it takes any process with the number in the pid file, a zombie too, for the server.
        Raises  EmbeddedFailed: it did not end in time.
        """
        if self._pid_file() is None:
            return
        for process in self._processes():
            # The postmaster is asked for a fast shutdown and ends the others; were it dead, they would be leaving.
            if process.pid == self._postmaster_pid():
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGINT)
        try:
            wait_until(lambda: not self._processes(), START_TIMEOUT_S, f"{self.data} is still in use")
        except TimeoutError as error:
            raise EmbeddedFailed("stop", str(error), self.log) from error
        self._forget_pid_file()

    def sql(self, script: str, *, port: int, database: str = "postgres") -> str:
        """What psql prints for `script`, run by the superuser: one line a row, columns parted by `|`.

        The script goes in by standard input: passwords in it never stand in a process list.
        Raises  EmbeddedFailed: a statement failed, or the server behind `port` is not this one (it must prove
        that it knows the password, so that a stranger on the port is never taken for it).
        """
        target = ["-h", HOST, "-p", str(port), "-U", SUPERUSER, "-d", database]
        result = run(
            [self.binaries.program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *target, "-f", "-"],
            variables={"PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_S)},
            text=script,
        )
        if result.returncode != 0:
            raise EmbeddedFailed("run a statement", result.stderr.strip(), self.log)
        return result.stdout.strip()

    def _initialize(self) -> None:
        if self.folder.exists():
            return
        for leftover in self.folder.parent.glob(".new-*"):
            # The initdb of a process that was killed may still write there; then the next start clears the rest.
            shutil.rmtree(leftover, ignore_errors=True)
        # Made aside and renamed, so that a half-made folder is never taken for a whole one; and in a folder of our
        # own, since as root nothing may be written or given away where another account could have put a link.
        staging = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=".new-"))
        password_file = staging / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password, encoding="ascii")
        self._give(password_file, staging)
        result = self._run("initdb", *self._initdb_arguments(staging / "data", password_file))
        password_file.unlink()
        if result.returncode != 0:
            raise EmbeddedFailed("make its data folder", result.stderr.strip())
        staging.rename(self.folder)

    def _initdb_arguments(self, data: Path, password_file: Path) -> list[str]:
        # The builtin provider came with PostgreSQL 17; before it the C library's locale of that name is nearest.
        provider = "builtin" if self.binaries.major >= 17 else "libc"
        durability = ["--no-sync"] if self.settings.get("fsync") == "off" else []
        return [
            *("-D", str(data), "-U", SUPERUSER, "--encoding=UTF8", "--auth=scram-sha-256"),
            *(f"--locale-provider={provider}", "--locale=C.UTF-8", f"--pwfile={password_file}"),
            *("--no-instructions", *durability),
        ]

    def _give(self, *paths: Path) -> None:
        if self.account:
            for path in paths:
                os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def _settle(self) -> int | None:
        """The port of the server that runs here already; None once it is sure that none does.

        A pid file proves nothing: it outlives a killed server, and its number may meanwhile be another process's.
        Only an answer to the password proves a live server, and only an empty data folder a dead one: the backends
        of a killed postmaster take a moment to notice, and a server in recovery a moment to answer.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while (lines := self._pid_file()) is not None:
            port = int(lines[3]) if len(lines) > 3 and lines[3].isdigit() else None
            if port is not None and self._answers(port):
                return port
            if not self._processes():
                self._forget_pid_file()
            elif time.monotonic() > deadline:
                raise EmbeddedFailed("take over", f"process {lines[0]} holds {self.data} and does not answer", self.log)
            else:
                time.sleep(0.05)
        return None

    def _launch(self) -> int:
        for port in self._ports():
            log_start = self.log.stat().st_size if self.log.exists() else 0
            result = self._run(*self._start_arguments(port))
            if result.returncode == 0:
                self._check_password(port)
                return port
            written = self._log_since(log_start)
            if "Address already in use" not in written:
                raise EmbeddedFailed("start", written or result.stderr.strip(), self.log)
        raise EmbeddedFailed("start", f"no free port in {PORT_ATTEMPTS} attempts", self.log)

    def _check_password(self, port: int) -> None:
        if not self._answers(port):
            self.stop()
            detail = f"the password in secrets.json does not open {self.data}: put that file back, or remove the folder"
            raise EmbeddedFailed("log in", detail, self.log)

    def _start_arguments(self, port: int) -> list[str]:
        settings = {
            **self.settings,
            "listen_addresses": HOST,
            "port": str(port),
            # No socket file: its path is limited to 107 bytes, and TCP with a password is closed to other accounts.
            "unix_socket_directories": "",
        }
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        return [
            *("pg_ctl", "start", "-D", str(self.data), "-l", str(self.log)),
            *("-w", "-t", str(START_TIMEOUT_S), "-o", options),
        ]

    def _ports(self) -> list[int]:
        """The port of last time first: a process that outlived a killed server finds the next one there."""
        try:
            kept = [int(self._port_file.read_text(encoding="ascii"))]
        except (FileNotFoundError, ValueError):
            kept = []
        return [*(port for port in kept if _is_free(port)), *(_free_port() for _ in range(PORT_ATTEMPTS))]

    def _answers(self, port: int) -> bool:
        try:
            return self.sql("SELECT 1", port=port) == "1"
        except EmbeddedFailed:
            return False

    def _run(self, program: str, *arguments: str) -> CompletedProcess[str]:
        command = [self.binaries.program(program), *arguments]
        return run(command, account=self.account, timeout_s=START_TIMEOUT_S + 30)

    def _pid_file(self) -> list[str] | None:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None

    def _postmaster_pid(self) -> int | None:
        lines = self._pid_file()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    def _processes(self) -> list[psutil.Process]:
        """The processes of PostgreSQL that work in the data folder: each of them stands in it, and a zombie nowhere."""
        folder = str(self.data.resolve())
        return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == folder]

    def _forget_pid_file(self) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _log_since(self, position: int) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(position)
            return file.read().decode("utf-8", "replace").strip()[-2000:]


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
