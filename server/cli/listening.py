"""Whether a port can be listened on: asked before anything is started, so that the answer is plain."""

import socket
from contextlib import closing

from server.cli.failure import CommandFailed


def require_free(host: str, port: int) -> None:
    """Returns if the port is free.

    Raises  CommandFailed: it is not, or the host is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CommandFailed(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another with --port"
        ) from error
