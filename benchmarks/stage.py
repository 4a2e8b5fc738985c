"""What stands ready before anything is measured: a database of the benchmark's own, a firm in it, the fake model."""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid5

import psutil
from pydantic import SecretStr

from benchmarks.processes import ROOT
from domain.kernel import Level, PrincipalId, Role, utc_now
from domain.resources import resource_folder
from server.database.connection import connected
from server.database.embedded import EmbeddedOptions, EmbeddedServer, embedded
from server.database.founding import Founding, FoundingMember, FoundingTask, found
from server.database.migrate import migrate_database
from server.home import GlowHome
from server.logins import DatabaseAddress, Login
from server.tokens import Audience, Tokens, audiences

USERS = 8
TASKS = 10
SLUG = "benchmark-firm"
BY_HAND = "by_hand"
LOG_LINE_PREFIX = "%m [%p] %u %x "
"""Who and in which transaction: what `tally.writing_transactions` reads."""

_NAMESPACE = UUID("0b9a1a52-6d3c-4f6e-9c52-0e3c6f6f2b10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A GLOW_HOME that is thrown away, with a migrated database and a firm of eight people in it."""

    folder: Path
    secret: str = field(repr=False)

    @property
    def path(self) -> Path:
        """What GLOW_HOME is set to."""
        return self.folder / "home"

    def log(self, name: str) -> Path:
        """Where a server writes what it has to say."""
        return self.folder / f"{name}.log"

    def variables(self, model_url: str) -> dict[str, str]:
        """The environment of a server on this home."""
        return {
            "GLOW_HOME": str(self.path),
            "GLOW_JWT_SECRET": self.secret,
            "GLOW_MODEL": "fake",
            "OPENAI_BASE_URL": model_url,
        }

    def token(self, user: int, audience: Audience = "api") -> str:
        """A token of one of the firm's people."""
        tokens = Tokens(
            secret=SecretStr(self.secret),
            issuer="glow",
            audiences=audiences(None, None),
            organization_claim="org",
            clock=utc_now,
        )
        return tokens.sign(PrincipalId(person_id(user)), SLUG, audience, timedelta(hours=4))

    @contextmanager
    def database(self) -> Generator[EmbeddedServer]:
        """The home's PostgreSQL, kept running for the length of the block."""
        with embedded(GlowHome(self.path), EmbeddedOptions(settings={"log_line_prefix": LOG_LINE_PREFIX})) as server:
            yield server


def organization_id() -> UUID:
    """The firm's id."""
    return uuid5(_NAMESPACE, "organization")


def person_id(user: int) -> UUID:
    """The id of one of the firm's people."""
    return uuid5(_NAMESPACE, f"person {user}")


@contextmanager
def fresh_home() -> Generator[Home]:
    """A home for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="glow-benchmark-") as name:
        folder = Path(name)
        # The embedded server of root runs as another account, which must get through.
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        home = Home(folder=folder, secret=secrets.token_urlsafe(32))
        with home.database() as server:
            asyncio.run(_prepare(server))
        yield home


async def _prepare(server: EmbeddedServer) -> None:
    await migrate_database(server.dsn(Login.OWNER), resource_folder("migrations"))
    async with connected(server.dsn(Login.OWNER)) as owner:
        await found(owner, _firm(), utc_now())


def _firm() -> Founding:
    return Founding(
        organization_id=organization_id(),
        slug=SLUG,
        name="Benchmark Firm",
        members=[_person(user) for user in range(USERS)] + [_service_account()],
        engagements=(),
        tasks=[_task(number) for number in range(TASKS)],
    )


def _person(user: int) -> FoundingMember:
    return FoundingMember(
        user_id=person_id(user),
        kind="person",
        email=f"person-{user}@benchmark.example",
        display_name=f"Person {user}",
        role=Role.PARTNER,
        floor=Level.L1,
        ceiling=Level.L2,
    )


def _service_account() -> FoundingMember:
    return FoundingMember(
        user_id=uuid5(_NAMESPACE, "service account"),
        kind="service_account",
        email="service@benchmark.example",
        display_name="Service account",
        role=Role.SERVICE_ACCOUNT,
        floor=Level.L1,
        ceiling=Level.L2,
    )


def _task(number: int) -> FoundingTask:
    return FoundingTask(
        task_id=uuid5(_NAMESPACE, f"task {number}"),
        title=f"Benchmark task {number}",
        description="Made for measuring; nobody has to do it.",
        kind=None,
        status="open",
        audience="firm",
        engagement_id=None,
        assignee_id=None,
        due_on=None,
        created_by=person_id(0),
    )


def by_hand_database(server: EmbeddedServer) -> str:
    """The URL of a database for the floor, on the same PostgreSQL."""
    password = secrets.token_urlsafe(16)
    server.superuser(f"CREATE ROLE {BY_HAND} LOGIN PASSWORD '{password}'")
    server.superuser(f"CREATE DATABASE {BY_HAND} OWNER {BY_HAND}")
    own = DatabaseAddress(
        host=server.address.host, port=server.address.port, database=BY_HAND, passwords={BY_HAND: password}
    )
    return own.dsn(BY_HAND)


def postmaster(server: EmbeddedServer) -> psutil.Process:
    """PostgreSQL's first process, below which all its others stand."""
    return psutil.Process(int((server.cluster.data / "postmaster.pid").read_text().split()[0]))


@contextmanager
def fake_model() -> Generator[str]:
    """The base URL of a fake model that runs in a process of its own for the length of the block."""
    command = [sys.executable, "-m", "benchmarks.model"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield str(json.loads(process.stdout.readline())["base_url"])
        finally:
            process.terminate()


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])
