"""What each module of browser tests shares: one Chromium, one server, and a tab of its own for every test."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from server.database.embedded import EmbeddedServer
from tests.browser.browsing import CHROMIUM, FLAGS
from tests.support.database import Database
from tests.support.served import Served, firms_database, served

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> "AsyncIterator[Browser]":
    from playwright.async_api import Error, async_playwright

    async with async_playwright() as playwright:
        try:
            launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        except Error as fault:
            if "No usable sandbox" in fault.message:
                pytest.skip("Chromium may not make its sandbox on this machine (user namespaces are off)")
            raise
        yield launched
        await launched.close()


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with firms_database(cluster, template) as database:
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database) -> AsyncIterator[Served]:
    async with served(firms, runs_worker=True) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: "Browser") -> "AsyncIterator[Page]":
    """A tab of its own; anything that its policy had to stop, or that failed in a script, fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 820})
    opened = await context.new_page()
    opened.set_default_timeout(20_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    yield opened
    await context.close()
    assert faults == []
