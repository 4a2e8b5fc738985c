"""A connection that belongs to one owner: for migrating, listening, and whatever no pool should lend."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
PooledConnection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
AnyConnection: TypeAlias = "Connection | PooledConnection"

CONNECT_TIMEOUT_S = 10.0


async def use_plain_ids(connection: Connection) -> None:
    """Have ids come as the standard library's UUID: the driver's own subclass is none to JSON encoders."""
    await connection.set_type_codec(
        "uuid", schema="pg_catalog", encoder=lambda id: id.bytes, decoder=lambda raw: UUID(bytes=raw), format="binary"
    )


async def connect(url: str, *, application_name: str = "glow") -> Connection:
    """An open connection; whoever asks for it closes it."""
    settings = {"application_name": application_name}
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    await use_plain_ids(connection)
    return connection


@asynccontextmanager
async def connected(url: str, *, application_name: str = "glow") -> AsyncGenerator[Connection]:
    """`connect` for the length of a block."""
    connection = await connect(url, application_name=application_name)
    try:
        yield connection
    finally:
        await connection.close()
