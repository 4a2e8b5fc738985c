"""Runs of tasks on the page while they go: cancelled, followed through a lost network, a few at once.

Each test has the only worker there is: another one would take the run from the agent that is held.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.model import ModelRequest
from server.hub import HubOptions
from tests.browser.browsing import marks, sign_in
from tests.browser.task_cards import add_task, card_of, latest_run, rest
from tests.support.database import Database
from tests.support.held import Held
from tests.support.scripted_model import ScriptedModel, Turn, says
from tests.support.served import Served, served
from tests.support.sites import network

if TYPE_CHECKING:
    from playwright.async_api import Page, Request

pytestmark = marks


def answers(_request: ModelRequest) -> Turn:
    return says("There are <b>seven</b>.")


@asynccontextmanager
async def agent_at_work(firms: Database, held: Held) -> AsyncGenerator[Served]:
    """A hub whose agent does objectives, and is held before it says anything."""
    async with served(firms, HubOptions(model=ScriptedModel(brain=answers, pace=held)), runs_worker=True) as server:
        yield server


async def test_run_that_goes_is_cancelled_by_the_keyboard_alone(page: "Page", firms: Database) -> None:
    held = Held()
    async with agent_at_work(firms, held) as server:
        task = await add_task(server, "Count the letters", kind="objective")
        await sign_in(page, server, fragment="&tasks")
        card = card_of(page, "Count the letters")
        await card.get_by_role("button", name="Run Count the letters").focus()
        await page.keyboard.press("Enter")
        await card.locator(".run-head:has-text('running')").wait_for()
        assert await card.get_by_role("progressbar").is_visible()
        # A second press of a hasty hand does nothing.
        assert await focused(page) == "Run Count the letters"
        await page.keyboard.press("Enter")
        assert await page.get_attribute(":focus", "aria-disabled") == "true"

        await card.get_by_role("button", name="Cancel the run of Count the letters").focus()
        await page.keyboard.press("Enter")
        await card.locator(".run-head:has-text('cancelled')").wait_for()
        assert await focused(page) == "Run Count the letters"
        found = await latest_run(server, task)
        assert found is not None
        assert found["status"] == "cancelled"
        held.released.set()


async def focused(page: "Page") -> str | None:
    return await page.evaluate("document.activeElement.getAttribute('aria-label')")


async def test_run_is_followed_on_after_the_network_was_lost(page: "Page", firms: Database) -> None:
    held = Held()
    async with agent_at_work(firms, held) as hub, network(hub.url) as (between, reached_at):
        await add_task(hub, "Count the folders", kind="objective")
        await sign_in(page, Served(url=reached_at, hub=hub.hub), fragment="&tasks")
        card = card_of(page, "Count the folders")
        await card.get_by_role("button", name="Run Count the folders").click()
        await card.locator(".run-head:has-text('running')").wait_for()
        between.cut()
        await card.locator(".run-words:has-text('The connection was lost')").wait_for()
        held.released.set()
        between.mend()
        await card.locator(".run-head:has-text('completed')").wait_for()
        assert "There are <b>seven</b>." in await card.locator(".run-answer").inner_text()
        assert re.search("#conversation=", await card.locator(".run-answer a").get_attribute("href") or "")


class Streams:
    """The streams of events that a page has open."""

    def __init__(self) -> None:
        self.open: set[Request] = set()
        self.most = 0
        self._changed = asyncio.Event()

    def watch(self, page: "Page") -> None:
        """Count from here on."""
        page.on("request", self._begun)
        page.on("requestfailed", self._ended)
        page.on("requestfinished", self._ended)

    async def number(self, wanted: int) -> None:
        """Wait until so many are open."""
        async with asyncio.timeout(60):
            while len(self.open) != wanted:
                self._changed.clear()
                await self._changed.wait()

    def _begun(self, request: "Request") -> None:
        if request.url.endswith("/events"):
            self.open.add(request)
            self.most = max(self.most, len(self.open))
            self._changed.set()

    def _ended(self, request: "Request") -> None:
        self.open.discard(request)
        self._changed.set()


async def test_no_more_than_three_runs_are_followed_at_once_and_none_once_the_view_is_left(
    page: "Page", firms: Database
) -> None:
    held, streams = Held(), Streams()

    async with agent_at_work(firms, held) as server:
        titles = [f"Count pile {n}" for n in range(5)]
        for title in titles:
            task = await add_task(server, title, kind="objective")
            async with rest(server) as client:
                assert (await client.post(f"/v1/tasks/{task}/runs")).status_code == 202
        streams.watch(page)
        await sign_in(page, server, fragment="&tasks")
        # Three are told of by their streams, the others by the list.
        for title in titles:
            await card_of(page, title).locator(".run-head:has-text('running')").wait_for()
        await streams.number(3)
        await page.click("nav >> text=Activity")
        await page.wait_for_selector(".ledger")
        await streams.number(0)
        assert streams.most == 3
        held.released.set()
