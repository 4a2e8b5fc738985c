"""Other sites of a loopback: a page that embeds the widget, and a network between it and the hub that can be cut."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

PIECE = 64 * 1024


def free_address() -> tuple[socket.socket, str]:
    """A listening socket, and the origin that it will serve: known before the hub is told whom to let in."""
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


def embedding(hub: str, attributes: str = "") -> str:
    """A page of another site that embeds the widget of this hub, and nothing else of it."""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Intranet</title>
<link rel="stylesheet" href="site.css">
<h1>Client intranet</h1>
<p>Ask the firm’s assistant.</p>
<script src="{hub}/widget.js"></script>
<glow-chat {attributes}></glow-chat>
"""


STYLE = """
body { font: 16px/1.5 Georgia, serif; margin: 0 auto; max-width: 44rem; padding: 1rem; color: #223; }
h1 { font-size: 1.4rem; margin: 0; } p { margin: 0 0 1rem; }
button, p, div { letter-spacing: 0.3em; text-transform: uppercase; color: red; }
h1, body > p { letter-spacing: 0; text-transform: none; color: inherit; }
glow-chat { height: 38rem; }
"""
"""Styles that would spoil the widget if they reached it."""


@asynccontextmanager
async def site(listening: socket.socket, page: str, hub: str) -> AsyncGenerator[None]:
    """A site that serves one page under as strict a policy as a widget can be embedded under."""
    policy = (
        f"default-src 'none'; script-src {hub}; connect-src {hub}; style-src 'self'; base-uri 'none'; "
        "form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types dompurify"
    )
    files = {"/": ("text/html; charset=utf-8", page), "/site.css": ("text/css", STYLE)}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            media_type, text = files.get(head.split(b" ")[1].decode().split("?")[0], ("text/plain", ""))
            body = text.encode()
            lines = (
                "HTTP/1.1 200 OK",
                f"Content-Type: {media_type}",
                f"Content-Length: {len(body)}",
                f"Content-Security-Policy: {policy}",
                "Cache-Control: no-store",
                "Connection: close",
            )
            writer.write("\r\n".join((*lines, "", "")).encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=listening)
    async with server:
        yield


@dataclass(slots=True)
class Network:
    """What lies between a browser and a hub; cut, it ends every connection and takes no new one."""

    hub: tuple[str, int]
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _is_cut: bool = False

    def cut(self) -> None:
        """From now on nothing comes through."""
        self._is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """From now on new connections come through."""
        self._is_cut = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways."""
        if self._is_cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self.hub)
        self._open |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, back))
                group.create_task(_pass_on(there, writer))
        finally:
            self._open -= {writer, back}
            for each in (writer, back):
                each.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def network(hub_url: str) -> AsyncGenerator[tuple[Network, str]]:
    """A network to the hub, and the address at which the hub is reached through it."""
    host, port = hub_url.removeprefix("http://").split(":")
    between = Network((host, int(port)))
    server = await asyncio.start_server(between.carry, "127.0.0.1", 0)
    try:
        yield between, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        between.cut()
        server.close()
