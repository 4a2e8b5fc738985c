"""A wire to the database that a test can cut."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from tests.support.database import Database


@dataclass(kw_only=True)
class Wire:
    """Passes bytes on between a loopback port and another one, until it is cut."""

    port: int
    server: asyncio.Server = field(repr=False)
    ends: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    async def cut(self) -> None:
        """Nobody gets through any more, and who was through is cut off."""
        self.server.close()
        for end in self.ends:
            end.transport.abort()
        await self.server.wait_closed()


@asynccontextmanager
async def passed_on(to_port: int) -> AsyncGenerator[Wire]:
    """A wire to a port of this machine, for the length of the block."""
    ends: set[asyncio.StreamWriter] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to_port)
        ends.update((writer, far_writer))
        try:
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        finally:
            ends.difference_update((writer, far_writer))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    wire = Wire(port=server.sockets[0].getsockname()[1], server=server, ends=ends)
    try:
        yield wire
    finally:
        await wire.cut()


def reached_by(database: Database, port: int) -> Database:
    """The same database, reached by another port."""
    return replace(database, address=replace(database.address, port=port))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
