"""Holds every test to this machine: reaching for a non-loopback address raises, and fails the test that swallows it.

The guard is an audit hook, so that it sees what asyncio, aiohttp or a C extension do with a socket, whatever name they
imported it by. A process that a test starts has no such guard, nor has uvloop, which asks libuv instead of `socket`.
"""

import ipaddress
import os
import sys
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ("tests.support.fixtures",)

LONGEST = ("test_parity.py", "test_rest_schemathesis.py")
AUTHORITY = Path(__file__).parent / "support" / "nobody.pem"
"""The one authority that tests, and the processes they start, trust. Its key was never kept."""
TRACED_OF = 6

# Everywhere as in continuous integration: the same examples each time, and none of them timed on a shared machine.
settings.load_profile("ci")

_LOCAL_NAMES = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
_NAME_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})

attempts_to_reach_out: list[str] = []
"""What the running test tried to reach outside this machine; a test that is `reaches_out` clears it itself."""


class ReachedOutError(ConnectionRefusedError):
    """A test reached for an address outside this machine; an OSError, so that libraries clean up after it."""


def pytest_configure() -> None:
    """Arm the guard for the life of the process: an audit hook cannot be taken back."""
    sys.addaudithook(_refuse_the_network)
    # To read all of the world's authorities takes 50 ms of each HTTP client, and nothing here is reached by TLS.
    os.environ["SSL_CERT_FILE"] = str(AUTHORITY)
    # Drawn with every frame's variables, a traceback holds up the event loop for longer than a run's lease.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest go first: behind the others they would keep one worker alone at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    _trace_a_share(items)


def _trace_a_share(items: list[pytest.Item]) -> None:
    """Tracing doubles what a test takes: of those with a database or a door behind them each sixth is traced, and the
    first case of each. What the others run besides is not counted, so the figure is lower than it is, never higher.
    """
    cases, tests = set[str](), Counter[Path]()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if test not in cases:
            cases.add(test)
            tests[item.path] += 1
            if "unit" in item.path.parts or tests[item.path] % TRACED_OF == 1:
                continue
        elif "unit" in item.path.parts:
            continue
        item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Fail a test that reached out, even if the code under test swallowed the refusal."""
    yield
    if attempts_to_reach_out:
        reached = ", ".join(attempts_to_reach_out)
        attempts_to_reach_out.clear()
        pytest.fail(f"reached outside this machine: {reached}", pytrace=False)


def _refuse_the_network(event: str, arguments: tuple[object, ...]) -> None:
    if event in _SENDS:
        host = _host_of(arguments[1])
    elif event in _NAME_LOOKUPS:
        host = _as_text(arguments[0])
    else:
        return
    if not is_local(host, literals_allowed=event in _NAME_LOOKUPS):
        attempts_to_reach_out.append(f"{event} {host}")
        raise ReachedOutError(f"a test may not reach {host} ({event})")


def _host_of(address: object) -> str:
    """The host of an internet address; of a Unix or other kernel address (text, bytes, numbers) none."""
    return _as_text(cast(tuple[object, ...], address)[0]) if isinstance(address, tuple) else ""


def _as_text(host: object) -> str:
    if isinstance(host, bytes | bytearray):
        return host.decode("ascii", "replace")
    return host if isinstance(host, str) else ""


def is_local(host: str, *, literals_allowed: bool) -> bool:
    """Whether a host is this machine; looking a literal address up sends nothing, so that much is allowed of any."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower().rstrip(".") in _LOCAL_NAMES or host.lower().endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return literals_allowed or address.is_unspecified or (mapped or address).is_loopback
