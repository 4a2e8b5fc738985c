"""What the record has earned the agent, on the page: its evidence is shown to all, and a PARTNER decides there."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from domain.kernel import Role
from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.database.pool import open_pools
from server.logins import Login
from tests.browser.browsing import marks, sign_in
from tests.browser.task_cards import rest
from tests.support.calls import add_member
from tests.support.database import Database, fresh_database, run_apart
from tests.support.earned import Firm, found_firms
from tests.support.gates import gate_on
from tests.support.served import Served, served

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

pytestmark = marks

BEARS = 35
"""Calls approved by somebody else, all of them: a lower bound of 0.901."""
UNBORNE = """
INSERT INTO autonomy_proposals (organization_id, proposal_id, tool, from_level, to_level, evidence, through, state,
    proposed_by, proposed_at)
SELECT organization_id, gen_random_uuid(), 'task_update', from_level, to_level, evidence, through, 'open',
    proposed_by, now()
FROM autonomy_proposals WHERE tool = 'task_create'
"""


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    """A firm whose record bears one proposal, and holds another that it does not bear."""

    async def lived(database: Database) -> None:
        async with connected(database.dsn(Login.OWNER)) as owner, open_pools(database.urls()) as pools:
            await found_firms(owner)
            await add_member(owner, Role.READONLY)
            async with gate_on(pools) as gate:
                firm = Firm(gate=gate, pools=pools)
                await firm.ceiling("L1")
                for _ in range(BEARS):
                    await firm.answered()
                await firm.reviewed()
            await owner.execute(UNBORNE)

    with fresh_database(cluster, template) as database:
        run_apart(lived(database))
        yield database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database) -> AsyncIterator[Served]:
    """Without a worker, whose review would withdraw what the record does not bear."""
    async with served(firms) as running:
        yield running


def sheet_of(page: "Page", title: str) -> "Locator":
    return page.get_by_role("article", name=f"Proposal for {title}", exact=True)


async def ceiling_in_force(server: Served) -> str | None:
    async with rest(server, "partner") as partner:
        found = (await partner.get("/v1/autonomy/settings", params={"scope": "tool", "limit": 1})).json()["items"]
    return str(found[0]["level"])


async def test_those_who_may_not_decide_see_the_proposal_and_its_evidence_without_buttons(
    page: "Page", server: Served
) -> None:
    await sign_in(page, server, fragment="&autonomy")
    sheet = sheet_of(page, "Create a task")
    facts = await sheet.locator(".facts").inner_text()
    assert f"{BEARS} of {BEARS} approved by somebody else and stood" in facts
    assert "0.901 of 0.90 that are needed" in facts
    assert "from L1 to L2" in await sheet.locator(".sheet-title").inner_text()
    assert await sheet.get_by_text("A partner decides it.").is_visible()
    assert await sheet.locator(".decide").count() == 0
    assert await sheet.locator("button:visible").count() == 0
    assert await page.get_by_role("link", name="Autonomy").locator(".count:visible").count() == 0

    await sheet.locator("summary").click()
    await sheet.locator(".evidence tbody tr").first.wait_for()
    assert await sheet.locator(".evidence tbody tr:visible").count() == BEARS
    await sheet.get_by_role("button", name="Look at call").first.click()
    call = sheet.locator(".details:visible")
    await call.get_by_text("Count the chairs").first.wait_for()  # one of their own
    assert "approved" in await sheet.locator(".evidence tbody tr").first.inner_text()


async def test_call_of_somebody_else_is_not_shown_to_whoever_may_not_see_it(page: "Page", server: Served) -> None:
    await sign_in(page, server, Role.READONLY, fragment="&autonomy")
    sheet = sheet_of(page, "Create a task")
    await sheet.locator("summary").click()
    await sheet.get_by_role("button", name="Look at call").first.click()
    await sheet.get_by_text("This call is not yours to see.").wait_for()


async def test_partners_yes_raises_the_tool_and_a_proposal_that_is_not_borne_is_refused_in_words(
    page: "Page", server: Served
) -> None:
    await sign_in(page, server, "partner", fragment="&autonomy")
    count = page.get_by_role("link", name="Autonomy").locator(".count")
    await count.wait_for()
    assert "2" in await count.inner_text()

    unborne = sheet_of(page, "Change a task")
    await unborne.get_by_role("button", name="Accept L2").click()
    await unborne.get_by_text("the record or the settings have changed, and bear this proposal no longer").wait_for()
    assert await ceiling_in_force(server) == "L1"
    await unborne.get_by_role("button", name="Reject").click()
    await unborne.locator(".badge:has-text('rejected')").wait_for()
    assert await unborne.locator(".decide").count() == 0

    sheet = sheet_of(page, "Create a task")
    await sheet.get_by_label("Comment").fill("Well <b>earned</b>.")
    await sheet.get_by_role("button", name="Accept L2").click()
    await sheet.locator(".badge:has-text('accepted')").wait_for()
    facts = await sheet.locator(".facts").inner_text()
    assert "partner@firm-1.example" in facts
    assert "Well <b>earned</b>." in facts
    assert await sheet.locator(".decide").count() == 0
    assert await ceiling_in_force(server) == "L2"
    await count.wait_for(state="hidden")

    await page.reload()
    await page.get_by_text("Nothing is proposed.").wait_for()
    assert await page.locator(".card:has-text('accepted')").count() == 1
    assert "35" in await page.locator(".tallies tbody tr").first.inner_text()
