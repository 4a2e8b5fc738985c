"""The index of one embedding model's vectors: made by the owner, looked for by whoever examines an installation."""

import hashlib
from urllib.parse import urlsplit

import asyncpg

from knowledge.embeddings.model import Space
from server.database.connection import AnyConnection, Connection, connected
from server.database.errors import DatabaseUnavailable
from server.logins import Login

_OF_THE_MIGRATION = {"text-embedding-3-small": "knowledge_embeddings_text_embedding_3_small"}

# The database writes the statement, since nothing in it can be a parameter; it quotes what is quoted. It runs beside
# traffic, so outside of any transaction.
_STATEMENT = """
SELECT format('CREATE INDEX CONCURRENTLY %I ON public.knowledge_embeddings'
              ' USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops) WHERE model = %L',
              $1::text, $2::integer, $3::text)
"""
_DROP = "SELECT format('DROP INDEX CONCURRENTLY IF EXISTS public.%I', $1::text)"

# None: it is not there. False: its making was cut off, and it is of no use.
_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.' || quote_ident($1))"


def index_name(space: Space) -> str:
    """What the index of a space is called."""
    digest = hashlib.sha256(space.model_id.encode()).hexdigest()
    return _OF_THE_MIGRATION.get(space.model_id, f"knowledge_embeddings_{digest[:16]}")


async def has_index(connection: AnyConnection, space: Space) -> bool:
    """Whether the vectors of a space have their index, and it is whole."""
    return bool(await connection.fetchval(_VALID, index_name(space)))


async def make_index(owner: Connection, space: Space) -> bool:
    """Makes the index of a space beside traffic; False: it was there."""
    name = index_name(space)
    if await has_index(owner, space):
        return False
    await owner.execute("SET statement_timeout = 0")
    await owner.execute(await owner.fetchval(_DROP, name))
    await owner.execute(await owner.fetchval(_STATEMENT, name, space.dimensions, space.model_id))
    return True


async def is_indexed(app_url: str, space: Space) -> bool:
    """`has_index`, asked as glow_app.

    Raises  DatabaseUnavailable.
    """
    try:
        async with connected(app_url, application_name="glow doctor") as connection:
            return await has_index(connection, space)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        parts = urlsplit(app_url)
        place = f"{parts.hostname}:{parts.port or 5432}"
        raise DatabaseUnavailable(Login.APP, f"{place}: {error or type(error).__name__}") from error
