"""`glow demo`: the demo firm on the embedded database, loaded at the first start, served with all that it needs."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

from pydantic import SecretStr

from domain.kernel import utc_now
from domain.resources import resource_folder
from server.cli.failure import CommandFailed
from server.cli.listening import require_free
from server.cli.printing import say
from server.cli.running import run_until_stopped
from server.cli.serving import serve_until_cancelled
from server.cli.welcome import welcome
from server.database.connection import Connection, connected
from server.database.provision import provided
from server.demo.heads import kept_heads
from server.demo.history import live_history
from server.demo.loader import Wanted, found_demo, take_in, wanted_documents
from server.demo.rules import set_rules
from server.home import JWT_SECRET
from server.hub import Hub, HubOptions, open_hub
from server.intake import Intake
from server.logins import DatabaseUrls
from server.serve import ServeOptions
from server.settings import Settings, load_settings
from server.storage.choosing import storage_of

HOST = "127.0.0.1"
TOKENS_HOLD = timedelta(days=30)


def demo(port: int) -> None:
    """Serve the demo firm until a signal says to stop.

    Raises  CommandFailed: the port is taken, or the settings name a database that is not the demo's own.
    """
    require_free(HOST, port)
    settings = load_settings()
    if not settings.is_embedded:
        # The demo's people have names that everybody knows: they have no place beside a firm's own.
        raise CommandFailed(
            "the demo runs on an embedded database of its own: unset DATABASE_URL and the other *_DATABASE_URL"
        )
    if settings.jwt_secret is None:
        made = settings.home.make_secret(JWT_SECRET)
        # Named, so that the demo signs its people in also where an issuer's tokens count beside.
        settings = settings.model_copy(update={"jwt_secret": SecretStr(made)})
    run_until_stopped(_demo(settings, port), log_level="WARNING")


async def _demo(settings: Settings, port: int) -> None:
    say(f"Starting the embedded PostgreSQL in {settings.home.path} ...")
    async with demo_hub(settings, f"http://{HOST}:{port}") as hub:
        options = ServeOptions(host=HOST, port=port)
        await serve_until_cancelled(hub, options, lambda: say(welcome(hub, TOKENS_HOLD)))
    say("Stopped; the data is kept.")


@asynccontextmanager
async def demo_hub(settings: Settings, local_url: str) -> AsyncGenerator[Hub]:
    """The hub with the demo firm in it, whole."""
    async with provided(settings) as urls:
        wanted = await _founded(urls)
        options = HubOptions(heads=kept_heads(settings.home), storage=storage_of(settings))
        async with open_hub(settings, urls, settings.public_url or local_url, options) as hub:
            if wanted:
                say(f"Taking in {len(wanted)} documents of the demo firm, each through the gate:")
                await take_in(Intake(hub), wanted, say)
            await _lived(hub, urls)
            yield hub


async def _founded(urls: DatabaseUrls) -> list[Wanted]:
    """The organizations written as the owner; what is left to be taken in."""
    folder = resource_folder("demo")
    async with _owner(urls) as owner:
        await found_demo(owner, folder, utc_now())
        return list(await wanted_documents(owner, folder))


async def _lived(hub: Hub, urls: DatabaseUrls) -> None:
    """The year before the first start, and what its people have set at its end."""
    folder = resource_folder("demo")
    async with _owner(urls) as owner:
        await live_history(hub, owner, folder, utc_now(), say)
        await set_rules(hub, owner, folder, say)


def _owner(urls: DatabaseUrls) -> AbstractAsyncContextManager[Connection]:
    assert urls.owner is not None  # noqa: S101 - the embedded database has all four logins
    return connected(urls.owner, application_name="glow demo")
