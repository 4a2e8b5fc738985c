"""`glow migrate`: the schema brought up to date by its owner, or the script that a superuser runs before."""

import asyncio
import sys

from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable
from server.cli.printing import say
from server.cli.running import run
from server.database.bootstrap import bootstrap_sql
from server.database.inspection import answering
from server.database.migrate import Migration
from server.database.provision import index_provided, migrate_provided
from server.hub import embedder_of
from server.logins import Login
from server.settings import Settings, load_settings

SPACE_WITHIN_S = 20.0


def migrate() -> None:
    """Apply what is missing and name it."""
    applied, indexed = run(_migrate())
    for migration in applied:
        say(f"applied {migration.name}")
    if indexed is not None:
        say(indexed)
    if not applied:
        say("The schema is up to date.")


def print_bootstrap() -> None:
    """Print the script, which holds no password."""
    sys.stdout.write(bootstrap_sql())


async def _migrate() -> tuple[tuple[Migration, ...], str | None]:
    settings = load_settings()
    if not settings.is_embedded:
        await answering(settings.owner_url(), Login.OWNER)
    return await migrate_provided(settings), await _index(settings)


async def _index(settings: Settings) -> str | None:
    """What became of the index for the configured model's vectors; None: there is nothing to tell."""
    embedder = embedder_of(settings)
    if embedder is None:
        return None
    try:
        async with asyncio.timeout(SPACE_WITHIN_S):
            space = await embedder.space()
    except (TimeoutError, EmbeddingsUnavailable, EmbeddingsRefused) as unknown:
        reason = str(unknown) or "The embedding server does not answer."
        return f"{reason} Run this again once it does: the index for its vectors is not made yet."
    finally:
        await embedder.close()
    made = await index_provided(settings, space)
    return f"made the index for the vectors of {space.model_id}" if made else None
