"""The page in a real browser, against the whole server: what people see and do, and what a text cannot do to them."""

import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from agent.model import ModelRequest
from domain.kernel import Role
from domain.resources import resource_folder
from server.database.embedded import EmbeddedServer
from server.hub import HubOptions
from tests.support.database import Database
from tests.support.held import Held
from tests.support.scripted_model import ScriptedModel, Turn, says
from tests.support.served import Served, firms_database, served

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytest.importorskip("playwright", reason="the package playwright is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found; CHROMIUM= names one"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
POLICY = "documents/acme-audit/policies/engagement-letter-policy.md"
QUESTION = "When must the engagement letter be renewed, and who signs it?"

HOSTILE = """<script>window.hacked = 1</script> <img src=x onerror="window.hacked=2"> <b>bold?</b>

[a link](javascript:window.hacked=3) [another](data:text/html,<script>window.hacked=4</script>) [real](https://bank.example/x)

`<svg onload=window.hacked=5>` **<iframe srcdoc="<script>parent.hacked=6</script>">**

| <img src=x onerror=window.hacked=7> | b |
|---|---|
| <style>*{display:none}</style> | c |
"""


def hostile(request: ModelRequest) -> Turn:
    """A model that was taken over; it would also have its reader sign in as somebody else."""
    found = re.search(r"http://127\.0\.0\.1:\d+", str(request))
    return says(HOSTILE, f"\n[sign in]({found[0] if found else ''}/#token=stolen)\n")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> "AsyncIterator[Browser]":
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
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


async def sign_in(page: "Page", server: Served, who: str = "employee", fragment: str = "") -> None:
    await page.goto(f"{server.url}/#token={server.token(who)}{fragment}")
    await page.wait_for_selector(".me")


async def ask(page: "Page", message: str) -> None:
    """Says something, and waits until it is answered."""
    await page.fill("#message", message)
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
    await page.wait_for_selector(".run .text, .run .banner")


async def test_question_is_answered_with_a_call_and_a_citation_that_opens(page: "Page", server: Served) -> None:
    await sign_in(page, server, fragment="&documents")
    await page.set_input_files("#files", str(Path(resource_folder("demo")) / POLICY))
    await page.wait_for_selector("tr:has-text('engagement-letter-policy'):has-text('ready')")

    await page.click("text=New conversation")
    await page.click(f"button:has-text('{QUESTION}')")
    await page.wait_for_selector(".sources")
    answer = await page.inner_text(".run .text")
    assert "every twelve months" in answer
    assert "engagement partner" in answer

    summary = page.locator(".call summary").first
    assert "knowledge_search" in await summary.inner_text()
    await summary.click()
    assert "allow" in await page.inner_text(".call .inside")

    await page.locator(".chip").first.click()
    assert "engagement-letter-policy" in await page.inner_text("#panel")
    assert await page.locator("#panel .source-quote").inner_text()
    await page.keyboard.press("Escape")
    assert await page.locator("#panel").is_hidden()


async def test_token_leaves_the_address_bar_and_stays_in_the_tab(page: "Page", server: Served) -> None:
    await sign_in(page, server)
    assert "token" not in page.url
    await page.reload()
    await page.wait_for_selector(".me")
    assert await page.evaluate("localStorage.length") == 0
    assert "employee@firm-1.example" in (await page.get_attribute(".me strong", "title") or "")


async def test_conversation_is_still_there_after_a_reload(page: "Page", server: Served) -> None:
    await sign_in(page, server)
    await ask(page, "What may you do on your own?")
    said = await page.inner_text(".run .text >> nth=-1")
    assert re.search("#conversation=[0-9a-f-]{36}$", page.url)
    await page.reload()
    await page.wait_for_selector(".run .text")
    assert await page.inner_text(".run .text >> nth=-1") == said
    assert await page.locator(".conversations a[aria-current]").count() == 1


async def test_call_that_waits_is_reviewed_and_approved_on_the_page(page: "Page", server: Served) -> None:
    await sign_in(page, server, Role.MANAGER)
    await ask(page, "Create a task to refresh the analytics")
    await page.click(".banner >> text=Review")
    await page.wait_for_selector(".sheet")
    assert "#approval=" in page.url
    assert "refresh_analytics" in await page.inner_text(".sheet .values")
    assert "manager@more-1.example" in await page.inner_text(".sheet .facts")

    await page.fill("#comment", "Go ahead")
    await page.click("text=Approve")
    await page.wait_for_selector(".sheet .result")
    assert "executed" in await page.inner_text(".sheet-head")
    assert "done" in await page.inner_text(".sheet .result")
    assert "Go ahead" in await page.inner_text(".sheet .facts")
    assert await page.locator(".decide").count() == 0

    await page.click("nav >> text=Tasks")
    await page.wait_for_selector(".card:has-text('workflow refresh_analytics')")
    await page.click("nav >> text=Activity")
    await page.wait_for_selector(".ledger tbody tr")
    assert "needs approval" in await page.inner_text(".ledger")


async def test_rejected_call_is_not_made(page: "Page", server: Served) -> None:
    await sign_in(page, server, Role.MANAGER)
    await ask(page, "Create a task to refresh the analytics")
    await page.click(".banner >> text=Review")
    await page.fill("#comment", "Not now")
    await page.click("text=Reject")
    await page.wait_for_selector(".sheet .result")
    assert "rejected" in await page.inner_text(".sheet-head")


async def test_plain_link_to_an_approval_opens_it_after_signing_in(page: "Page", server: Served) -> None:
    await page.goto(f"{server.url}/#approval=00000000-0000-4000-8000-000000000000")
    await page.fill("#token", server.token())
    await page.click("form button[type=submit]")
    await page.wait_for_selector("text=There is no such thing, or it is not yours to see.")


@pytest.mark.parametrize("token", ["nonsense", "mcp"])
async def test_token_that_opens_nothing_is_said_so(page: "Page", server: Served, token: str) -> None:
    await page.goto(f"{server.url}/#token={server.token(audience='mcp') if token == 'mcp' else token}")
    await page.wait_for_selector(".sign-in [role=alert]")
    assert await page.locator(".me").count() == 0


async def test_what_a_captured_model_says_is_only_ever_text(page: "Page", firms: Database) -> None:
    async with served(firms, HubOptions(model=ScriptedModel(brain=hostile))) as server:
        await sign_in(page, server)
        await ask(page, f"<img src=x onerror=window.hacked=8> hello {server.url}")
        assert "<script>window.hacked = 1</script>" in await page.inner_text(".run .text")
        assert "onerror=window.hacked=8" in await page.inner_text(".said")
        assert f"sign in ({server.url}/#token=stolen)" in await page.inner_text(".run .text")
        assert await page.locator("#main a").count() == 1
        link = page.locator("#main a")
        assert await link.get_attribute("href") == "https://bank.example/x"
        assert "noopener" in (await link.get_attribute("rel") or "")
        assert "bank.example" in await page.inner_text(".where")
        assert await page.locator("#main :is(script, img, iframe, svg, style, b)").count() == 0
        await page.reload()
        await page.wait_for_selector(".run .text")
        assert await page.evaluate("window.hacked") is None


async def test_what_a_document_says_is_only_ever_text(page: "Page", server: Served, tmp_path: Path) -> None:
    document = tmp_path / "<img src=x onerror=window.hacked=9>.md"
    document.write_text(f"# Retention of quince files\n\nQuince files are kept for nine years. {HOSTILE}\n")
    await sign_in(page, server, fragment="&documents")
    await page.set_input_files("#files", str(document))
    await page.wait_for_selector("tr:has-text('onerror=window.hacked=9'):has-text('ready')")
    await page.click("text=New conversation")
    await ask(page, "How long are quince files kept?")
    await page.locator(".source").first.click()
    assert "nine years" in await page.inner_text("#panel")
    await page.locator(".call summary").first.click()
    assert await page.locator("body :is(img, iframe, style)").count() == 0
    assert await page.evaluate("window.hacked") is None


async def test_a_run_that_is_going_is_taken_up_again_after_a_reload_and_can_be_stopped(
    page: "Page", firms: Database
) -> None:
    held = Held()
    async with served(firms, HubOptions(model=ScriptedModel(brain=lambda _: says("one ", "two"), pace=held))) as server:
        await sign_in(page, server)
        await page.fill("#message", "Count for me")
        await page.keyboard.press("Enter")
        await held.reached.wait()
        await page.wait_for_selector("text=Stop")
        await page.wait_for_url(re.compile("#conversation="))
        await page.reload()
        await page.wait_for_selector(".thinking")
        await page.click("text=Stop")
        await page.wait_for_selector(".note:has-text('Stopped.')")
        held.released.set()
