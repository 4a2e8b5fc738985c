"""A bar in a real browser: how far a task's run has come while a call waits for it, on the page and in the widget."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from server.hub import Hub, HubOptions
from tests.browser.browsing import marks, sign_in
from tests.browser.test_widget import embedded
from tests.support.database import Database
from tests.support.held import Held
from tests.support.served import served
from tests.support.task_work import work_at

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = marks

MESSAGE = "Create a task to refresh the analytics and run it"
BAR = ".call [role=progressbar]"
SHOWN_IN = os.environ.get("GLOW_TEST_SCREENSHOTS")
"""A folder for pictures of what was tested."""


@dataclass(slots=True)
class SecondStep:
    """A fault of the gate that holds the second call which is made once it is armed."""

    armed: bool = False
    held: Held = field(default_factory=Held)
    works: int = 0

    async def __call__(self, step: str) -> None:
        if step == "work" and self.armed:
            self.works += 1
            if self.works == 2:
                await self.held()


@asynccontextmanager
async def working(page: "Page", hub: Hub, step: SecondStep) -> AsyncGenerator[None]:
    """A worker at the run that the page waits for; there is no other."""
    step.armed = True
    task_run_id = UUID(await page.inner_text(".call .hint >> nth=-1"))
    async with asyncio.TaskGroup() as group:
        group.create_task(work_at(hub, task_run_id))
        try:
            yield
        finally:
            step.held.released.set()


async def say(page: "Page") -> None:
    await page.fill("#message", MESSAGE)
    await page.keyboard.press("Enter")


async def picture(page: "Page", name: str) -> None:
    if SHOWN_IN:
        await page.screenshot(path=Path(SHOWN_IN) / f"{name}.png")


async def fills_and_goes(page: "Page", hub: Hub, step: SecondStep, name: str) -> None:
    """The bar is empty, stands at a third as long as the second step is held, and at the end it is gone."""
    await page.wait_for_selector(f"{BAR}[aria-valuenow='0']")
    assert await page.locator(BAR).get_attribute("aria-valuetext") == "0 %, queued"
    async with working(page, hub, step):
        await page.wait_for_selector(f"{BAR}[aria-valuenow='33']")
        await stands_at_a_third(page, name)
    await page.wait_for_selector(".run .text")
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
    assert "The run is completed" in await page.inner_text(".run .text >> nth=-1")
    assert await page.locator(BAR).count() == 0
    await picture(page, f"{name}-ended")


async def stands_at_a_third(page: "Page", name: str) -> None:
    bar = page.locator(BAR)
    assert await bar.get_attribute("aria-label") == "Progress of task_run_get"
    words = await page.inner_text(".call .going .words")
    assert words
    assert await bar.get_attribute("aria-valuetext") == f"33 %, {words}"
    assert await page.inner_text(".call .going .share") == "33 %"
    width, whole = (await bar.locator("i").bounding_box()), (await bar.bounding_box())
    assert width is not None
    assert whole is not None
    assert 0 < width["width"] < whole["width"] / 2
    await picture(page, name)
    await page.emulate_media(color_scheme="dark")
    await picture(page, f"{name}-dark")
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 400, "height": 700})
    await picture(page, f"{name}-narrow")
    await page.set_viewport_size({"width": 1280, "height": 820})


async def test_the_bar_of_a_call_that_waits_fills_and_its_words_change_on_the_page(
    page: "Page", firms: Database
) -> None:
    step = SecondStep()
    async with served(firms, HubOptions(fault=step)) as server:
        await sign_in(page, server)
        await say(page)
        await fills_and_goes(page, server.hub, step, "page")


async def test_the_bar_of_a_call_that_waits_fills_in_the_widget_too(page: "Page", firms: Database) -> None:
    step = SecondStep()
    async with embedded(firms, HubOptions(fault=step), runs_worker=False) as world:
        await world.open(page)
        await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
        await say(page)
        await fills_and_goes(page, world.hub.hub, step, "widget")
