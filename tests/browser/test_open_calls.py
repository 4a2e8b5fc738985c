"""Calls of which nobody knows how they ended outside, on the page: seen, and closed by whoever has looked there."""

from typing import TYPE_CHECKING
from uuid import UUID

from server.database.connection import connected
from tests.browser.browsing import marks, sign_in
from tests.browser.task_cards import rest
from tests.support.database import Database
from tests.support.open_calls import LEFT
from tests.support.served import Served

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = marks

HOSTILE = "<img src=x onerror=window.hacked=1> letter 4711"


async def left_open(server: Served, firms: Database) -> str:
    """A call of the employee's, as one is kept that is under way outside."""
    async with rest(server, "employee") as client:
        made = await client.post("/v1/tools/task_create/call", json={"arguments": {"title": "Write to Lena"}})
    call_id = str(made.json()["call_id"])
    async with connected(firms.dsn("postgres")) as connection:
        await connection.execute(LEFT, UUID(call_id))
    return call_id


async def test_call_left_open_is_closed_by_whoever_says_from_where_they_know(
    page: "Page", server: Served, firms: Database
) -> None:
    call_id = await left_open(server, firms)
    await sign_in(page, server, "partner", fragment="&approvals")
    await page.get_by_role("link", name="Calls left open").click()
    card = page.locator(".card", has_text="task_create")
    assert "MANAGER or above" in await card.inner_text()
    assert await page.title() == "Calls left open · Prisma Glow"
    await card.get_by_role("button", name="It happened").click()
    await card.get_by_text("Say from where you know it.").wait_for()
    await card.get_by_label("Its reference outside").fill(HOSTILE)
    await card.get_by_role("button", name="It happened").click()
    await page.get_by_text("recorded as done, by your word.").wait_for()
    await card.wait_for(state="detached")
    assert await page.evaluate("window.hacked") is None
    async with rest(server, "partner") as client:
        shown = (await client.get(f"/v1/activity/{call_id}")).json()
    assert (shown["outcome"], shown["result"]["stated"]) == ("done", HOSTILE)


async def test_whoever_may_not_say_it_sees_their_own_and_no_answers(
    page: "Page", server: Served, firms: Database
) -> None:
    await left_open(server, firms)
    await sign_in(page, server, "employee", fragment="&open")
    await page.locator(".card", has_text="task_create").wait_for()
    assert await page.locator("main form").count() == 0
