"""`glow migrate`: the schema brought up to date by its owner, or the script that a superuser runs before."""

import sys

from server.cli.printing import say
from server.cli.running import run
from server.database.bootstrap import bootstrap_sql
from server.database.inspection import answering
from server.database.migrate import Migration
from server.database.provision import migrate_provided
from server.logins import Login
from server.settings import load_settings


def migrate() -> None:
    """Apply what is missing and name it."""
    applied = run(_migrate())
    for migration in applied:
        say(f"applied {migration.name}")
    if not applied:
        say("The schema is up to date.")


def print_bootstrap() -> None:
    """Print the script, which holds no password."""
    sys.stdout.write(bootstrap_sql())


async def _migrate() -> tuple[Migration, ...]:
    settings = load_settings()
    if not settings.is_embedded:
        await answering(settings.owner_url(), Login.OWNER)
    return await migrate_provided(settings)
