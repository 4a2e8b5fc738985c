"""The socket guard of the test suite itself: without it a test could talk to the world and still pass."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ReachedOutError, attempts_to_reach_out, is_local

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = "203.0.113.7"  # RFC 5737: an address for documentation, nobody's


def connect() -> None:
    with socket.socket() as outside:
        outside.connect((OUTSIDE, 443))


def connect_ex() -> None:
    with socket.socket() as outside:
        outside.connect_ex((OUTSIDE, 443))


def connect_over_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as outside:
        outside.connect(("2001:db8::7", 443))


def create_connection() -> None:
    socket.create_connection((OUTSIDE, 443), timeout=1)


def send_a_datagram() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as outside:
        outside.sendto(b"?", (OUTSIDE, 53))


def look_a_name_up() -> None:
    socket.getaddrinfo("model.example", 443)


def open_an_asyncio_stream() -> None:
    asyncio.run(_open_stream())


async def _open_stream() -> None:
    await asyncio.open_connection(OUTSIDE, 443)


@pytest.mark.reaches_out
@pytest.mark.parametrize(
    "reach_out",
    [
        connect,
        connect_ex,
        connect_over_ipv6,
        create_connection,
        send_a_datagram,
        look_a_name_up,
        open_an_asyncio_stream,
    ],
)
def test_reaching_outside_the_machine_is_refused_and_noted(
    reach_out: Callable[[], None],
) -> None:
    with pytest.raises(ReachedOutError):
        reach_out()
    assert len(attempts_to_reach_out) == 1
    attempts_to_reach_out.clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "firm.localhost", "::1", ""])
def test_this_machine_may_be_reached(host: str) -> None:
    assert is_local(host, literals_allowed=False)


async def test_loopback_and_unix_sockets_work_under_the_guard(tmp_path: Path) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ok")
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as over_tcp,
        await asyncio.start_unix_server(answer, tmp_path / "s") as over_unix,
    ):
        port: int = over_tcp.sockets[0].getsockname()[1]
        for reader, writer in (
            await asyncio.open_connection("localhost", port),
            await asyncio.open_unix_connection(tmp_path / "s"),
        ):
            assert await reader.read() == b"ok"
            writer.close()
            await writer.wait_closed()
        assert over_unix.is_serving()


def test_a_test_that_swallows_the_refusal_fails_all_the_same(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text())
    pytester.makepyfile(
        f"""
        import contextlib, socket

        def test_that_swallows_every_error():
            with contextlib.suppress(Exception), socket.socket() as outside:
                outside.connect(("{OUTSIDE}", 443))

        def test_that_stays_at_home():
            pass
        """
    )
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    outcome.assert_outcomes(passed=2, errors=1)
    outcome.stdout.fnmatch_lines([f"*reached outside this machine: socket.connect {OUTSIDE}*"])
