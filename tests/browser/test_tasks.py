"""Tasks and schedules on the page: begun, followed and planned by a press, and refusals beside the button."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx

from domain.kernel import Role, utc_now
from tests.browser.browsing import marks, sign_in
from tests.browser.task_cards import add_task, card_of, latest_run, rest
from tests.support.firms import FIRM_A
from tests.support.served import Served

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

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


async def test_run_that_was_looked_at_before_its_stream_told_of_its_end_can_be_begun_again(
    page: "Page", server: Served
) -> None:
    task = await add_task(server, "Refresh unheard")
    await page.route("**/events", lambda _: None)  # a stream that never says a word
    await sign_in(page, server, fragment="&tasks")
    card = card_of(page, "Refresh unheard")
    start = card.get_by_role("button", name="Run Refresh unheard", exact=True)
    await start.click()
    await card.locator(".task-run").wait_for()
    begun = await latest_run(server, task)
    assert begun is not None
    async with rest(server) as client:
        await client.get(f"/v1/task-runs/{begun['task_run_id']}/events", timeout=60)
    summary = card.locator("summary:has-text('Details')")
    await summary.click()
    await summary.click()
    await card.locator(".run-head:has-text('completed')").wait_for()
    assert await card.get_by_role("button", name="Cancel").is_hidden()
    assert await start.get_attribute("aria-disabled") == "false"


async def test_second_press_after_a_lost_answer_begins_no_second_run(page: "Page", server: Served) -> None:
    task = await add_task(server, "Refresh once")
    begun: list[str] = []

    async def lose(route: "Route") -> None:
        begun.append((await (await route.fetch()).json())["task_run_id"])
        await route.abort()

    await page.route(f"**/v1/tasks/{task}/runs", lose, times=1)
    await page.route("**/v1/tasks?*", lambda route: route.abort() if begun else route.continue_())
    await sign_in(page, server, fragment="&tasks")
    card = card_of(page, "Refresh once")
    start = card.get_by_role("button", name="Run Refresh once", exact=True)
    await start.click()
    await card.locator(".refusal:has-text('The server cannot be reached.')").wait_for()
    async with page.expect_response(f"**/v1/tasks/{task}/runs") as answered:
        await start.click()
    again = await (await answered.value).json()
    assert [again["task_run_id"]] == begun
    await card.locator(".run-head:has-text('completed')").wait_for()
    assert await card.locator(".refusal").inner_text() == ""


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


async def test_who_may_not_run_or_plan_a_task_is_told_so_beside_the_button(page: "Page", server: Served) -> None:
    task = await add_task(server, "Refresh for readers")
    await sign_in(page, server, Role.READONLY, fragment="&tasks")
    card = card_of(page, "Refresh for readers")
    await card.get_by_role("button", name="Run Refresh for readers").click()
    await card.locator(".refusal:has-text('Not allowed. The role does not suffice.')").wait_for()
    assert await latest_run(server, task) is None

    await card.get_by_role("link", name="Schedule Refresh for readers").click()
    await page.wait_for_selector(".schedule-form")
    assert await page.input_value("#schedule-task") == task
    await page.click("text=Create schedule")
    await page.wait_for_selector(".schedule-form .refusal:has-text('The role does not suffice.')")


async def test_failure_of_a_run_is_told_in_words(page: "Page", server: Served) -> None:
    await add_task(server, "Have nobody do it", kind="objective", input={"agent": "nobody"})
    await sign_in(page, server, fragment="&tasks")
    card = card_of(page, "Have nobody do it")
    await card.get_by_role("button", name="Run Have nobody do it").click()
    await card.locator(".task-run .error:has-text('no such agent')").wait_for()
    await page.reload()
    await card.locator(".task-run").scroll_into_view_if_needed()
    await card.locator(".task-run .error:has-text('no such agent')").wait_for()


async def test_schedule_is_made_paused_and_deleted_and_its_next_run_is_seen(page: "Page", server: Served) -> None:
    task = await add_task(server, "Refresh at seven")
    await sign_in(page, server, "partner", fragment="&schedules")
    await page.wait_for_selector(".schedule-form")
    assert await page.input_value("#schedule-task") == task  # the newest
    await page.select_option("#schedule-task", label="Refresh at seven")
    await page.select_option("#schedule-often", label="Every week")
    await page.select_option("#schedule-weekday", label="Friday")
    await page.fill("#schedule-at", "07:05")
    await page.select_option("#schedule-zone", "Asia/Kathmandu")
    assert "Every Friday at 07:05" in await page.inner_text(".outcome")
    await page.click("text=Create schedule")
    card = card_of(page, "Refresh at seven")
    await card.wait_for()

    async with rest(server, "partner") as partner:
        found = [each for each in await schedules(partner) if each["title"] == "Refresh at seven"]
    assert [(each["cron"], each["time_zone"]) for each in found] == [("5 7 * * FRI", "Asia/Kathmandu")]
    due = card.locator(".next-run")
    assert await due.get_attribute("datetime") == found[0]["next_run_at"]
    assert re.search(r"Fri.*0?7:05", await due.inner_text())
    facts = await card.locator(".facts").inner_text()
    assert "Every Friday at 07:05, Asia/Kathmandu" in facts
    assert re.search(r"where you are .*0?1:20", facts)

    await card.get_by_role("button", name="Pause").click()
    await card.locator(".facts:has-text('none while it is paused')").wait_for()
    await card.get_by_role("button", name="Resume").click()
    await due.wait_for()
    await card.get_by_role("button", name="Delete the schedule of Refresh at seven").click()
    await card.get_by_role("button", name="Keep").click()
    await card.get_by_role("button", name="Delete the schedule of Refresh at seven").click()
    await card.get_by_role("button", name="Delete for good").click()
    await page.wait_for_selector("text=Deleted: Refresh at seven.")
    assert await card.count() == 0
    async with rest(server, "partner") as partner:
        assert "Refresh at seven" not in {each["title"] for each in await schedules(partner)}


async def schedules(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await client.get("/v1/schedules", params={"limit": 100})).json()["items"]


async def test_cron_expression_that_makes_no_sense_is_told_so_at_its_field(page: "Page", server: Served) -> None:
    await add_task(server, "Refresh whenever")
    await sign_in(page, server, "partner", fragment="&schedules")
    await page.select_option("#schedule-task", label="Refresh whenever")
    await page.select_option("#schedule-often", label="By a cron expression")
    await page.fill("#schedule-cron", "61 7 * * *")
    await page.click("text=Create schedule")
    await page.wait_for_selector(".schedule-form .refusal:has-text('bad minute')")
    assert await page.get_attribute("#schedule-cron", "aria-invalid") == "true"
    assert await page.evaluate("document.activeElement.id") == "schedule-cron"
    await page.fill("#schedule-cron", "0 7 * * FRI#2")
    await page.click("text=Create schedule")
    card = card_of(page, "Refresh whenever")
    await card.wait_for()
    assert "0 7 * * FRI#2" in await card.inner_text()
    assert await page.get_attribute("#schedule-cron", "aria-invalid") == "false"
    assert await page.inner_text(".schedule-form .refusal") == ""


async def test_what_a_task_is_called_is_only_ever_text(page: "Page", server: Served) -> None:
    await add_task(server, HOSTILE, description="<b>bold</b>")
    await sign_in(page, server, "partner", fragment="&tasks")
    card = card_of(page, HOSTILE)
    await card.get_by_role("button", name="Run").click()
    await card.locator(".run-head:has-text('completed')").wait_for()
    await card.get_by_role("link", name="Schedule").click()
    await page.wait_for_selector(".schedule-form")
    await page.click("text=Create schedule")
    await card_of(page, HOSTILE).wait_for()
    assert await page.locator("main :is(img, b, script)").count() == 0
    assert await page.evaluate("window.hacked") is None
