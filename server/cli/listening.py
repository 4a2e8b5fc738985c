"""The address that is listened on: asked for before anything is started, so that the answer is plain."""

import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from server.cli.failure import CommandFailed

BACKLOG = 2048
"""Connections that wait for a process to take them."""

Address = tuple[socket.AddressFamily, socket.SocketKind, int, Any]
"""Family, kind and protocol of a socket, and what it is bound to: in the family's own form."""


def require_free(host: str, port: int) -> None:
    """Returns if the port is free.

    Raises  CommandFailed: it is not, or the host is none of this machine.
    """
    with _told(host, port):
        first, *_ = _addresses(host, port)
        with _unbound(first) as probe:
            probe.bind(first[-1])


@contextmanager
def listening_on(host: str, port: int) -> Generator[tuple[socket.socket, ...]]:
    """Sockets that listen for the length of the block, one for each address of the host.

    Raises  CommandFailed: as `require_free`.
    """
    with ExitStack() as stack:
        with _told(host, port):
            sockets = [stack.enter_context(_listening(each)) for each in dict.fromkeys(_addresses(host, port))]
        yield tuple(sockets)


def local_url(host: str, port: int) -> str:
    """Where a server on this address is reached when no public URL is set."""
    reached = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


@contextmanager
def _told(host: str, port: int) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise CommandFailed(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another with --port"
        ) from error


def _addresses(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, kind, protocol, place) for family, kind, protocol, _, place in found]


def _unbound(address: Address) -> socket.socket:
    family, kind, protocol, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _listening(address: Address) -> socket.socket:
    made = _unbound(address)
    try:
        if made.family == socket.AF_INET6:
            # As an event loop has it that binds by itself: the host's other addresses have sockets of their own.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address[-1])
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
