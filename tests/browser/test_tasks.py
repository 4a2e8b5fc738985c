"""Tasks on the page: begun and followed by a press, and refusals beside the button."""

from datetime import timedelta
from typing import TYPE_CHECKING

from domain.kernel import Role, utc_now
from tests.browser.browsing import marks, sign_in
from tests.browser.task_cards import add_task, card_of, latest_run, rest
from tests.support.firms import FIRM_A
from tests.support.served import Served

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = marks

HOSTILE = "<img src=x onerror=window.hacked=1> count"


async def test_task_is_run_and_followed_by_a_bar_to_its_end(page: "Page", server: Served) -> None:
    task = await add_task(server, "Refresh the figures")
    await sign_in(page, server, fragment="&tasks")
    card = card_of(page, "Refresh the figures")
    assert await card.get_by_role("progressbar").count() == 0

    await card.get_by_role("button", name="Run Refresh the figures").click()
    await card.locator('[role=progressbar][aria-valuenow="100"]').wait_for()
    await card.locator(".run-head:has-text('completed')").wait_for()
    await card.locator(".steps li:has-text('done') >> nth=2").wait_for()
    assert "By tool" in await card.locator(".steps li").first.inner_text()
    assert "completed" in await page.locator(".records [role=status]").inner_text()
    assert await card.get_by_role("button", name="Run Refresh the figures").is_visible()
    assert await card.get_by_role("button", name="Cancel").is_hidden()
    found = await latest_run(server, task)
    assert found is not None
    assert found["status"] == "completed"


async def test_run_that_waits_leads_to_its_approval_and_goes_on_when_it_is_given(page: "Page", server: Served) -> None:
    yesterday = (utc_now() - timedelta(days=1)).date().isoformat()
    owed = {"title": "Bank letters", "due_on": yesterday, "engagement_id": str(FIRM_A.id("engagement"))}
    async with rest(server, "partner") as partner:
        answer = await partner.post("/v1/tasks", json={**owed, "assignee": "client@firm-1.example"})
        assert answer.status_code == 201
    await add_task(server, "Remind the clients", kind="remind_pbc")
    await sign_in(page, server, fragment="&tasks")
    card = card_of(page, "Remind the clients")
    await card.get_by_role("button", name="Run Remind the clients").click()
    link = card.locator(".waits-for a")
    await link.wait_for()
    assert "waiting" in await card.locator(".run-head").inner_text()
    await link.click()
    await page.wait_for_selector(".sheet.waits")
    assert "Bank letters" in await page.inner_text(".sheet .values")

    approval = page.url.rsplit("=", 1)[1]
    await page.go_back()
    await card.locator(".run-head:has-text('waiting')").wait_for()
    async with rest(server, "partner") as partner:
        answer = await partner.post(f"/v1/approvals/{approval}/decision", json={"decision": "approve"})
    assert answer.status_code == 200, answer.text
    await card.locator(".run-head:has-text('completed')").wait_for()
    assert await card.locator(".waits-for").count() == 0


async def test_who_may_not_run_a_task_is_told_so_beside_the_button(page: "Page", server: Served) -> None:
    task = await add_task(server, "Refresh for readers")
    await sign_in(page, server, Role.READONLY, fragment="&tasks")
    card = card_of(page, "Refresh for readers")
    await card.get_by_role("button", name="Run Refresh for readers").click()
    await card.locator(".refusal:has-text('Not allowed. The role does not suffice.')").wait_for()
    assert await latest_run(server, task) is None


async def test_failure_of_a_run_is_told_in_words(page: "Page", server: Served) -> None:
    await add_task(server, "Have nobody do it", kind="objective", input={"agent": "nobody"})
    await sign_in(page, server, fragment="&tasks")
    card = card_of(page, "Have nobody do it")
    await card.get_by_role("button", name="Run Have nobody do it").click()
    await card.locator(".task-run .error:has-text('no such agent')").wait_for()
    await page.reload()
    await card.locator("summary:has-text('Details')").click()
    await card.locator(".task-run .error:has-text('no such agent')").wait_for()


async def test_what_a_task_is_called_is_only_ever_text(page: "Page", server: Served) -> None:
    await add_task(server, HOSTILE, description="<b>bold</b>")
    await sign_in(page, server, "partner", fragment="&tasks")
    card = card_of(page, HOSTILE)
    await card.get_by_role("button", name="Run").click()
    await card.locator(".run-head:has-text('completed')").wait_for()
    assert await page.locator("main :is(img, b, script)").count() == 0
    assert await page.evaluate("window.hacked") is None
