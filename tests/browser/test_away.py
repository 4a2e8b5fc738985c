"""Who decides while somebody is away, on the page: named for a time, seen by those concerned, withdrawn by them."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from domain.kernel import Role, utc_now
from tests.browser.browsing import marks, sign_in
from tests.browser.task_cards import rest
from tests.support.served import Served

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = marks

EMPLOYEE = "employee@firm-1.example"
HOSTILE = "<img src=x onerror=window.hacked=1> on leave"


async def delegations(server: Served, who: str = "partner") -> list[dict[str, Any]]:
    async with rest(server, who) as client:
        return (await client.get("/v1/delegations")).json()["items"]


async def delegate(page: "Page", until: str, to: str = EMPLOYEE, why: str = "") -> None:
    await page.get_by_label("Who decides for you").fill(to)
    await page.get_by_label("Through the end of").fill(until)
    await page.get_by_label("Why").fill(why)
    await page.get_by_role("button", name="Delegate").click()


async def test_delegate_is_named_for_a_time_seen_by_both_and_withdrawn_by_a_second_press(
    page: "Page", server: Served
) -> None:
    await sign_in(page, server, "partner", fragment="&approvals")
    await page.get_by_role("link", name="Who decides while you are away").click()
    await page.get_by_text("Nobody stands in for anybody.").wait_for()
    assert await page.title() == "While you are away · Prisma Glow"
    until = (utc_now() + timedelta(days=7)).date().isoformat()
    await delegate(page, until, why=HOSTILE)
    card = page.locator(".card", has_text=f"{EMPLOYEE} for partner@firm-1.example")
    await card.locator(".badge:has-text('stands')").wait_for()
    assert HOSTILE in await card.inner_text()
    (given,) = await delegations(server)
    assert (given["delegate"], given["reason"], given["stands"]) == (EMPLOYEE, HOSTILE, True)
    assert given["ends_at"].startswith((utc_now() + timedelta(days=8)).date().isoformat())
    assert await page.evaluate("window.hacked") is None

    await page.evaluate("sessionStorage.clear(); localStorage.clear()")
    await page.goto("about:blank")
    await sign_in(page, server, "employee", fragment="&away")
    await card.get_by_role("button", name="Withdraw").click()
    await card.get_by_role("button", name="Keep").click()
    assert len(await delegations(server)) == 1
    await card.get_by_role("button", name="Withdraw").click()
    await card.get_by_role("button", name="Withdraw now").click()
    await page.get_by_text(f"Withdrawn: {EMPLOYEE} no longer decides for partner@firm-1.example.").wait_for()
    await page.get_by_text("Nobody stands in for anybody.").wait_for()
    assert await delegations(server) == []


async def test_what_the_hub_refuses_is_told_at_the_form_and_nothing_is_given(page: "Page", server: Served) -> None:
    await sign_in(page, server, "partner", fragment="&away")
    until = (utc_now() + timedelta(days=7)).date().isoformat()
    refusal = page.locator(".refusal")
    await delegate(page, until, to="nobody@firm-1.example")
    await refusal.get_by_text("There is no such delegate.").wait_for()
    await delegate(page, (utc_now() - timedelta(days=7)).date().isoformat())
    await refusal.get_by_text("this time is over already").wait_for()
    assert await page.evaluate("document.activeElement.id") == "away-until"
    await delegate(page, (utc_now() + timedelta(days=200)).date().isoformat())
    await refusal.get_by_text("within 92 days").wait_for()
    await delegate(page, until, to="client@firm-1.example")
    await refusal.get_by_text("Whoever decides nothing cannot decide in another’s stead.").wait_for()
    assert await delegations(server) == []


async def test_whoever_decides_nothing_is_offered_no_form(page: "Page", server: Served) -> None:
    await sign_in(page, server, Role.READONLY, fragment="&away")
    await page.get_by_text("Nobody stands in for anybody.").wait_for()
    assert await page.locator("main form").count() == 0
