"""Connections to names whose every address is on the public network, made to the very address that was checked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

import httpcore2

from knowledge.fetching.addresses import address_of, is_open
from knowledge.fetching.model import AddressRefused, Allowance, PageUnavailable

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name, as text. Raises  OSError: it has none."""


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """As this machine resolves names."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """What an HTTP pool opens its connections by.

    The name is resolved here, once for each connection, and the connection goes to an address that was checked: nobody
    can answer otherwise a second time. TLS is then still held to the name, which the pool knows.
    """

    def __init__(self, resolve: Resolve, allowance: Allowance) -> None:
        self._resolve = resolve
        self._allowance = allowance
        self._beneath = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises  AddressRefused: one of its addresses is closed. PageUnavailable: it has none."""
        addresses = await self.checked(host, port)
        fault: Exception = httpcore2.ConnectError("no address")
        for address in addresses[:4]:
            try:
                return await self._beneath.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as unreachable:
                fault = unreachable
        raise fault

    async def checked(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name, each of them open: one that has a closed one beside them is refused whole."""
        try:
            addresses = await self._resolve(host.strip("[]"), port)
        except (OSError, UnicodeError) as unknown:
            raise PageUnavailable(f"there is no host {host}") from unknown
        if not addresses:
            raise PageUnavailable(f"there is no host {host}")
        try:
            opens = all(is_open(address_of(address), self._allowance) for address in addresses)
        except ValueError:
            opens = False
        if not opens:
            raise AddressRefused(host)
        return addresses

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """No page is behind one."""
        raise AddressRefused(path)

    async def sleep(self, seconds: float) -> None:
        await self._beneath.sleep(seconds)
