"""The connection as every postgres module takes it: its transaction and context were set above, it never commits."""

from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Row: TypeAlias = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

PLAN_ANEW = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)"


async def plan_anew(connection: Connection) -> None:
    """Have what follows in this transaction planned for its own arguments.

    Before searches, reports and lists: under row level security one prepared statement serves all organizations, and a
    plan kept from a small one reads a large one whole. A look-up by key has one plan for all, and is spared the work.
    """
    await connection.execute(PLAN_ANEW)
