"""A wire to the database that keeps the client's side open when the server has closed its own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


@asynccontextmanager
async def half_closed(host: str, port: int) -> AsyncGenerator[int]:
    """A port that leads to the server's: its last words arrive, the end of the connection does not."""
    wires: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        writers.extend((writer, far_writer))
        wires.extend((asyncio.create_task(_carry(reader, far_writer)), asyncio.create_task(_carry(far_reader, writer))))

    server = await asyncio.start_server(carried, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*wires)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while sent := await reader.read(65536):
            writer.write(sent)
            await writer.drain()
    except ConnectionError:
        return
