"""The widget in a real browser, on another site's page: proof 6 of the widget door.

A conversation with a call, a citation opened, a confirmation pressed, a reload and a lost network in mid-answer, a
foreign origin refused, and an answer full of script that does nothing.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest_asyncio

from agent.model import ModelRequest
from domain.kernel import PrincipalId, Role
from domain.resources import resource_folder
from server.hub import HubOptions
from tests.browser.browsing import ask_for_approval, marks, messages_of
from tests.support.database import Database
from tests.support.firms import FIRM_A
from tests.support.held import Held
from tests.support.scripted_model import ScriptedModel, Turn, says
from tests.support.served import Served, served
from tests.support.sites import Network, embedding, free_address, network, site

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = marks

POLICY = "documents/acme-audit/policies/engagement-letter-policy.md"
QUESTION = "When must the engagement letter be renewed, and who signs it?"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A hub, a site that it lets in, one that it does not, and the network through which both reach it."""

    hub: Served
    reached_at: str
    ours: str
    evil: str
    between: Network

    async def session(self, who: str = "employee", origin: str | None = None) -> str:
        """A session as the site's own backend begins it for the person that it knows."""
        headers = {"Authorization": f"Bearer {self.hub.token(who)}"}
        async with httpx.AsyncClient(base_url=self.hub.url, headers=headers) as http:
            answer = await http.post("/v1/widget/sessions", json={"origin": origin or self.ours})
        assert answer.status_code == 200, answer.text
        return answer.json()["token"]

    def headers(self, who: str) -> dict[str, str]:
        """Those of a request by the person's own hand."""
        return {"Authorization": f"Bearer {self.hub.token(who)}"}

    def ended(self, who: str = "employee") -> str:
        """A session that was good once."""
        member = PrincipalId(FIRM_A.id(who))
        return self.hub.hub.tokens.sign(member, f"firm-{FIRM_A.n}", "widget", timedelta(seconds=-5), self.ours)

    async def open(self, page: "Page", who: str = "employee") -> None:
        """Open the site's page, and let it set the token."""
        await page.goto(self.ours)
        await sign_in(page, await self.session(who))


async def sign_in(page: "Page", token: str) -> None:
    """What a site's page does when it knows its person."""
    await page.evaluate("(token) => { document.querySelector('glow-chat').token = token; }", token)
    await page.wait_for_selector("#message")


@asynccontextmanager
async def embedded(
    firms: Database, options: HubOptions | None = None, *, runs_worker: bool = True
) -> AsyncGenerator[Embedded]:
    """Everything, for the length of the block."""
    async with AsyncExitStack() as stack:
        (here, ours), (there, evil) = free_address(), free_address()
        hub = await stack.enter_async_context(served(firms, options, runs_worker=runs_worker, allowed_origins=(ours,)))
        between, reached_at = await stack.enter_async_context(network(hub.url))
        for listening in (here, there):
            page = embedding(reached_at)
            await stack.enter_async_context(site(listening, page, reached_at))
        yield Embedded(hub, reached_at, ours, evil, between)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(firms: Database) -> AsyncIterator[Embedded]:
    async with embedded(firms) as opened:
        yield opened


async def ask(page: "Page", message: str) -> None:
    """Say something once the past is shown, and wait until it is answered."""
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
    before = await page.locator(".run").count()
    await page.fill("#message", message)
    await page.keyboard.press("Enter")
    await page.wait_for_function(
        "(n) => document.querySelector('glow-chat').shadowRoot.querySelectorAll('.run').length > n", arg=before
    )
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")


async def test_question_is_answered_with_a_call_and_a_citation_that_opens(page: "Page", world: Embedded) -> None:
    await world.open(page)
    await page.set_input_files("#attach", str(Path(resource_folder("demo")) / POLICY))
    await page.wait_for_selector(".note:has-text('can be searched')")
    await ask(page, QUESTION)
    answer = await page.inner_text(".run .text")
    assert "every twelve months" in answer

    summary = page.locator(".call summary").first
    assert "Search the firm's documents" in await summary.inner_text()
    await summary.click()
    assert "allow" in await page.inner_text(".call .inside")
    assert "within_role_and_autonomy" in await page.inner_text(".call .inside")

    await page.locator(".chip").first.click()
    assert await page.evaluate("document.querySelector('glow-chat').shadowRoot.activeElement.id") == "panel-title"
    marked = " ".join((await page.inner_text("#panel mark")).split())
    assert "every twelve months" in marked
    assert marked in " ".join(answer.split())
    assert re.search(r"\d+–\d+", await page.inner_text("#panel .facts"))
    await page.keyboard.press("Escape")
    assert await page.locator("#panel").is_hidden()
    assert await page.evaluate("document.querySelector('glow-chat').shadowRoot.activeElement.className") == "chip"


async def test_what_needs_a_person_is_laid_out_and_approved_by_a_press(page: "Page", world: Embedded) -> None:
    await world.open(page, Role.MANAGER)
    await ask_for_approval(page, "Create a task to refresh the analytics")
    assert "refresh_analytics" in await page.inner_text(".sheet .values")
    assert "manager@more-1.example" in await page.inner_text(".sheet .facts")
    await page.fill(".decide textarea", "Go ahead")
    await page.click(".decide >> text=Approve")
    await page.wait_for_selector(".sheet .result")
    # The answer goes on below, without another message.
    await page.wait_for_selector(".run .text:has-text('I created the task')")
    assert await page.locator(".said").count() == 1
    assert "executed" in await page.inner_text(".sheet-head")
    assert "Go ahead" in await page.inner_text(".sheet .facts")
    record = await record_of(world, Role.MANAGER)
    assert ("approval_decide", "widget", "person", "done") in record
    assert ("task_create", "widget", "agent", "done") in record


async def record_of(world: Embedded, who: str) -> set[tuple[str, str, str, str]]:
    """The person's calls as the record has them: tool, door, mode and outcome."""
    headers = {"Authorization": f"Bearer {world.hub.token(who)}"}
    async with httpx.AsyncClient(base_url=world.hub.url, headers=headers) as http:
        items = (await http.get("/v1/activity?limit=100")).json()["items"]
    return {(item["tool"], item["door"], item["mode"], item["outcome"]) for item in items}


async def test_what_is_rejected_is_not_done(page: "Page", world: Embedded) -> None:
    await world.open(page, Role.MANAGER)
    await ask_for_approval(page, "Create a task to refresh the analytics")
    await page.click(".sheet.waits >> text=Reject")
    await page.wait_for_selector(".sheet-head:has-text('rejected')")
    await page.wait_for_selector(".run .text:has-text('I did not create the task')")


async def test_what_is_decided_elsewhere_goes_on_here_too(page: "Page", world: Embedded) -> None:
    await world.open(page, Role.MANAGER)
    await ask_for_approval(page, "Create a task to refresh the analytics")
    headers = {"Authorization": f"Bearer {world.hub.token(Role.MANAGER)}"}
    async with httpx.AsyncClient(base_url=world.hub.url, headers=headers) as http:
        item = (await http.get("/v1/approvals?state=pending")).json()["items"][0]
        await http.post(f"/v1/approvals/{item['id']}/decision", json={"decision": "approve"})
    await page.wait_for_selector(".run .text:has-text('I created the task')")
    await page.wait_for_selector(".sheet-head:has-text('executed')")
    assert await page.locator(".sheet.waits").count() == 0


async def test_conversation_is_shown_again_after_a_reload_and_nobody_elses(page: "Page", world: Embedded) -> None:
    await world.open(page, "partner")
    await ask(page, "What may you do on your own?")
    said = await page.inner_text(".run .text")
    await page.reload()
    await sign_in(page, await world.session("partner"))
    await page.wait_for_selector(".run .text")
    assert await page.inner_text(".run .text") == said
    assert "What may you do" in await page.inner_text(".said")
    await sign_in(page, await world.session("employee"))
    await page.wait_for_selector(".welcome")
    assert await page.locator(".said").count() == 0


async def test_agent_that_the_page_names_begins_a_conversation_and_undoes_no_handover(
    page: "Page", world: Embedded
) -> None:
    sent = messages_of(page)
    await page.goto(world.ours)
    await page.evaluate("document.querySelector('glow-chat').setAttribute('agent', 'librarian')")
    await sign_in(page, await world.session())
    await ask(page, "Talk to the tax agent")
    await ask(page, "What may you do on your own?")
    assert [message.get("agent") for message in sent] == ["librarian", None]
    async with httpx.AsyncClient(base_url=world.hub.url, headers=world.headers("employee")) as http:
        conversation = (await http.get(f"/v1/conversations/{sent[1]['conversation_id']}")).json()
    assert conversation["agent"] == "tax"


async def test_new_begins_a_conversation_of_its_own_where_the_page_named_one(page: "Page", world: Embedded) -> None:
    sent = messages_of(page)
    await world.open(page, "partner")
    await ask(page, "What may you do on your own?")
    named = await page.evaluate("document.querySelector('glow-chat').conversation")
    await page.evaluate("(id) => document.querySelector('glow-chat').setAttribute('conversation', id)", named)
    await ask(page, "What may you do on your own?")
    await page.click("text=New")
    await page.wait_for_selector(".welcome")
    await ask(page, "What may you do on your own?")
    assert [message.get("conversation_id") for message in sent] == [None, named, None]
    assert await page.evaluate("document.querySelector('glow-chat').conversation") not in (None, named)


PIECES = [f"word{n} " for n in range(40)]


async def test_answer_goes_on_after_a_reload_in_its_middle_and_nothing_is_lost_or_doubled(
    page: "Page", firms: Database
) -> None:
    pace = InTwo(20)
    model = ScriptedModel(brain=lambda _: says(*PIECES), pace=pace)
    async with embedded(firms, HubOptions(model=model)) as world:
        await world.open(page)
        await page.fill("#message", "Count for me")
        await page.keyboard.press("Enter")
        await pace.reached.wait()
        await page.wait_for_selector(".text:has-text('word15')")
        await page.reload()
        await sign_in(page, await world.session())
        await page.wait_for_selector(".text:has-text('word15')")
        pace.released.set()
        await page.wait_for_selector(".text:has-text('word39')")
        assert (await page.inner_text(".run .text")).split() == [piece.strip() for piece in PIECES]
        assert await page.locator(".said").count() == 1
        assert len(model.requests) == 1


async def test_answer_goes_on_after_the_network_was_lost_in_its_middle(page: "Page", firms: Database) -> None:
    pace = InTwo(20)
    model = ScriptedModel(brain=lambda _: says(*PIECES), pace=pace)
    async with embedded(firms, HubOptions(model=model)) as world:
        await world.open(page)
        await page.fill("#message", "Count for me")
        await page.keyboard.press("Enter")
        await pace.reached.wait()
        await page.wait_for_selector(".text:has-text('word15')")
        world.between.cut()
        await page.wait_for_selector(".lost:not([hidden])")
        pace.released.set()
        world.between.mend()
        await page.wait_for_selector(".text:has-text('word39')")
        assert (await page.inner_text(".run .text")).split() == [piece.strip() for piece in PIECES]
        assert await page.locator(".lost").is_hidden()
        assert len(model.requests) == 1


async def test_message_that_did_not_arrive_is_sent_again_and_asked_once(page: "Page", firms: Database) -> None:
    model = ScriptedModel(brain=lambda _: says("Here it is."))
    async with embedded(firms, HubOptions(model=model)) as world:
        await world.open(page)
        world.between.cut()
        await page.fill("#message", "Are you there?")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".lost:not([hidden])")
        world.between.mend()
        await page.wait_for_selector(".text:has-text('Here it is.')")
        assert len(model.requests) == 1


async def test_run_is_stopped_by_its_button(page: "Page", firms: Database) -> None:
    held = Held()
    async with embedded(
        firms, HubOptions(model=ScriptedModel(brain=lambda _: says("one ", "two"), pace=held))
    ) as world:
        await world.open(page)
        await page.fill("#message", "Count for me")
        await page.keyboard.press("Enter")
        await held.reached.wait()
        await page.click("text=Stop")
        await page.wait_for_selector(".note:has-text('Stopped.')")
        held.released.set()


class InTwo:
    """A pace that goes through, stands still at one step until it is let go on, and goes through again."""

    def __init__(self, step: int) -> None:
        self._left = step
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            await self.released.wait()


# Who is let in --------------------------------------------------------------------------------------------------------


async def test_without_a_token_it_asks_to_sign_in_and_tells_the_page(page: "Page", world: Embedded) -> None:
    await page.goto(world.ours)
    await page.wait_for_selector("text=Sign in to start")
    await page.evaluate(
        """() => {
          window.asked = [];
          document.addEventListener("glow-sign-in", (event) => window.asked.push(event.detail.reason));
        }"""
    )
    await page.click("glow-chat >> text=Sign in >> nth=-1")
    assert await page.evaluate("window.asked") == ["asked"]
    await sign_in(page, await world.session())
    await page.wait_for_selector(".welcome")


async def test_page_that_gives_tokens_signs_its_person_in_without_a_press(page: "Page", world: Embedded) -> None:
    await page.goto(world.ours)
    await page.evaluate(
        """(token) => {
          window.asked = [];
          document.addEventListener("glow-sign-in", (event) => window.asked.push(event.detail.reason));
          document.querySelector("glow-chat").refresh = async () => token;
        }""",
        await world.session(),
    )
    await page.wait_for_selector(".welcome")
    assert await page.evaluate("window.asked") == []


async def test_page_that_has_no_token_to_give_is_told_why_it_was_asked(page: "Page", world: Embedded) -> None:
    await page.goto(world.ours)
    asked = await page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("glow-sign-in", (event) => resolve(event.detail.reason));
          document.querySelector("glow-chat").refresh = async () => { throw new Error("no backend"); };
        })"""
    )
    assert asked == "missing"


async def test_token_that_is_an_attribute_is_taken_out_of_the_document(page: "Page", world: Embedded) -> None:
    await page.goto(world.ours)
    await page.evaluate(
        "(token) => document.querySelector('glow-chat').setAttribute('token', token)", await world.session()
    )
    await page.wait_for_selector(".welcome")
    assert await page.locator("glow-chat[token]").count() == 0


async def test_refused_token_is_renewed_by_the_page_and_else_asked_for_again(page: "Page", world: Embedded) -> None:
    fresh, ended = await world.session(), world.ended()
    await page.goto(world.ours)
    await page.evaluate(
        """([fresh, ended]) => {
          const chat = document.querySelector("glow-chat");
          window.renewed = 0;
          chat.refresh = async () => { window.renewed += 1; return window.renewed === 1 ? fresh : null; };
          chat.token = ended;
        }""",
        [fresh, ended],
    )
    await ask(page, "What may you do on your own?")
    assert await page.evaluate("window.renewed") == 1
    assert "level in force" in await page.inner_text(".run .text")
    await page.evaluate("(ended) => { document.querySelector('glow-chat').token = ended; }", ended)
    await page.fill("#message", "And now?")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=Your sign-in has ended")


async def test_site_that_is_not_let_in_gets_no_session_no_answer_and_is_told_in_words(
    page: "Page", world: Embedded
) -> None:
    headers = {"Authorization": f"Bearer {world.hub.token('employee')}"}
    async with httpx.AsyncClient(base_url=world.hub.url, headers=headers) as http:
        answer = await http.post("/v1/widget/sessions", json={"origin": world.evil})
    assert answer.json()["code"] == "origin_not_allowed"

    await page.goto(world.evil)
    for token in (await world.session(), world.hub.token("employee")):
        read = await page.evaluate(
            """async ([url, token]) => {
              try {
                return (await fetch(`${url}/v1/approvals`, { headers: { Authorization: `Bearer ${token}` } })).status;
              } catch (fault) {
                return fault.name;
              }
            }""",
            [world.reached_at, token],
        )
        assert read == "TypeError"
    before = await record_of(world, "employee")
    await sign_in(page, await world.session())
    await page.fill("#message", "Create a task to refresh the analytics")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".banner:has-text('cannot be reached')")
    assert await record_of(world, "employee") == before


# What an answer cannot do ---------------------------------------------------------------------------------------------

HOSTILE = """<script>window.hacked = 1</script> <img src=x onerror="window.hacked=2"> <b>bold?</b>

[a link](javascript:window.hacked=3) [another](data:text/html,<script>window.hacked=4</script>) [real](https://bank.example/x)

![picture](https://bank.example/x.png) [1]

[1]: https://evil.example "cited"

`<svg onload=window.hacked=5>` **<iframe srcdoc="<script>parent.hacked=6</script>">**

| <img src=x onerror=window.hacked=7> | b |
|---|---|
| <style>*{display:none}</style> | c |

<form action=https://evil.example><input name=x></form><math><mtext><img src=x onerror=window.hacked=8></mtext></math>
"""


def hostile(request: ModelRequest) -> Turn:
    """A model that was taken over; it would also have its reader sign in as somebody else."""
    found = re.search(r"http://127\.0\.0\.1:\d+", str(request))
    return says(HOSTILE, f"\n[sign in]({found[0] if found else ''}/#token=stolen)\n")


async def test_answer_full_of_script_and_markup_does_nothing(page: "Page", firms: Database) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    async with embedded(firms, HubOptions(model=ScriptedModel(brain=hostile))) as world:
        await world.open(page)
        await ask(page, f"<img src=x onerror=window.hacked=9> hello {world.reached_at}")
        text = await page.inner_text(".run .text")
        assert "<script>window.hacked = 1</script>" in text
        assert f"sign in ({world.reached_at}/#token=stolen)" in text
        assert "onerror=window.hacked=9" in await page.inner_text(".said")
        inside = ".run .text"
        assert await page.locator(f"{inside} :is(script, img, iframe, svg, style, b, form, input, math)").count() == 0
        for anchor in await page.locator(f"{inside} a").all():
            assert re.match(r"https://(bank|evil)\.example", await anchor.get_attribute("href") or "")
            assert "noopener" in (await anchor.get_attribute("rel") or "")
            assert await anchor.get_attribute("target") == "_blank"
        handlers = "(root) => [...root.querySelectorAll('*')].flatMap((e) => [...e.attributes]).map((a) => a.name)"
        names = await page.locator(inside).evaluate(handlers)
        assert [name for name in names if name.startswith("on")] == []
        await page.reload()
        await sign_in(page, await world.session())
        await page.wait_for_selector(".run .text")
        assert await page.evaluate("window.hacked") is None
        hosts = {url.split("/")[2] for url in asked}
        assert not [host for host in hosts if not host.startswith("127.0.0.1")]


# How it looks and is used ---------------------------------------------------------------------------------------------


async def test_the_sites_styles_stay_outside_and_it_fits_a_narrow_page(page: "Page", world: Embedded) -> None:
    await page.set_viewport_size({"width": 320, "height": 640})
    await world.open(page, "partner")
    await ask(page, "What may you do on your own?")
    button = page.locator(".composer button[type=submit]")
    assert await button.evaluate("(node) => getComputedStyle(node).textTransform") == "none"
    log, chat = page.locator(".log"), page.locator("glow-chat")
    assert await log.evaluate("(node) => node.scrollWidth") <= await chat.evaluate("(node) => node.clientWidth")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320


async def test_it_is_used_by_keyboard_alone_and_says_what_happens(page: "Page", world: Embedded) -> None:
    await world.open(page, "partner")
    await page.locator("#message").focus()
    await page.keyboard.type("What may you do on your own?")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[role=status]:has-text('level in force')", state="attached")
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
    await page.keyboard.press("Shift+Tab")
    assert (
        await page.evaluate("document.querySelector('glow-chat').shadowRoot.activeElement.ariaLabel") == "Add documents"
    )
    unnamed = """() => [...document.querySelector('glow-chat').shadowRoot.querySelectorAll('button, input, textarea')]
      .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"""
    assert await page.evaluate(unnamed) == []


FOCUSED = "document.querySelector('glow-chat').shadowRoot.activeElement?.id"


async def test_focus_stays_at_the_field_when_the_button_that_had_it_goes(page: "Page", firms: Database) -> None:
    held = Held()
    model = ScriptedModel(brain=lambda _: says("one ", "two"), pace=held)
    async with embedded(firms, HubOptions(model=model)) as world:
        await world.open(page)
        await page.locator(".example").last.focus()
        await page.keyboard.press("Space")
        await held.reached.wait()
        assert await page.evaluate(FOCUSED) == "message"
        await page.wait_for_selector("text=Stop")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Space")
        await page.wait_for_selector("[role=status]:text-is('Stopped.')", state="attached")
        assert await page.evaluate(FOCUSED) == "message"
        held.released.set()

        await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
        await page.keyboard.type("Again")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Space")
        await page.locator(".run").nth(1).wait_for()
        assert await page.evaluate(FOCUSED) == "message"


async def test_message_of_a_tab_that_was_doubled_is_given_back_and_not_sent_again(
    page: "Page", firms: Database
) -> None:
    held, holding = Held(), False

    async def pace() -> None:
        if holding:
            await held()

    model = ScriptedModel(brain=lambda _: says("one ", "two"), pace=pace)
    async with embedded(firms, HubOptions(model=model)) as world:
        await world.open(page)
        await ask(page, "First")
        kept = await page.evaluate("Object.entries(sessionStorage)")
        other = await page.context.new_page()
        await other.goto(world.ours)
        await other.evaluate("(kept) => kept.forEach(([name, value]) => sessionStorage.setItem(name, value))", kept)
        await sign_in(other, await world.session())
        await other.wait_for_selector(".run .text")
        holding = True
        await other.fill("#message", "From the other tab")
        await other.keyboard.press("Enter")
        await held.reached.wait()

        sent = messages_of(page)
        await page.fill("#message", "From here")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".banner:has-text('another tab')")
        assert await page.input_value("#message") == "From here"
        await page.locator(".run .again").first.click()
        await page.wait_for_selector(".log > .banner")
        assert await page.inner_text(".run .text") == "one two", "it made room for another version, which is not to be"
        await page.locator(".said .again").first.click()
        await page.fill(".editing textarea", "First of all")
        await page.keyboard.press("Enter")
        await page.wait_for_function(
            "() => document.querySelector('glow-chat').shadowRoot.querySelector('#message').value.includes('of all')"
        )
        assert await page.inner_text(".run .text") == "one two"
        await page.reload()
        await sign_in(page, await world.session())
        await page.wait_for_selector(".run .text")
        assert [message["message"] for message in sent] == ["From here"]
        held.released.set()
