"""Versions, feedback, titles and search on the page in a real browser, as somebody would use them, by keyboard too."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from agent.compaction import INSTRUCTIONS
from agent.model import AssistantMessage, ModelRequest, UserMessage
from agent.titles import WORDS
from server.hub import HubOptions
from tests.browser.browsing import ask, marks, sign_in
from tests.support.database import Database
from tests.support.scripted_model import ScriptedModel, Turn, says
from tests.support.served import served

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = marks


def numbered() -> ScriptedModel:
    """A model that counts its answers, and says how much it was told."""
    asked: list[ModelRequest] = []

    def answer(request: ModelRequest) -> Turn:
        asked.append(request)
        told = [each.text for each in request.messages if isinstance(each, UserMessage | AssistantMessage)]
        return says(f"Answer {len(asked)} to {told[-1]}, of {len(told)} told.")

    return ScriptedModel(brain=answer)


async def texts(page: "Page") -> list[str]:
    return [text.strip() for text in await page.locator(".run .text").all_inner_texts()]


async def test_an_answer_is_given_again_a_message_written_anew_and_both_are_gone_back_to(
    page: "Page", firms: Database
) -> None:
    async with served(firms, HubOptions(model=numbered())) as server:
        await sign_in(page, server)
        await ask(page, "medlars")
        await ask(page, "quinces")
        assert await texts(page) == ["Answer 1 to medlars, of 1 told.", "Answer 2 to quinces, of 3 told."]

        await page.locator(".run .again").last.focus()
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".run .versions:has-text('2/2')")
        assert (await texts(page))[1] == "Answer 3 to quinces, of 3 told."
        await page.click("[aria-label='Earlier version of this answer']")
        await page.wait_for_selector(".run .versions:has-text('1/2')")
        assert (await texts(page))[1] == "Answer 2 to quinces, of 3 told."

        await page.locator("[aria-label='Edit this message']").first.click()
        await page.fill(".editing textarea", "medlars in May")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".said .versions:has-text('2/2')")
        assert await texts(page) == ["Answer 4 to medlars in May, of 1 told."]
        await page.reload()
        await page.wait_for_selector(".said .versions:has-text('2/2')")
        await page.click("[aria-label='Earlier version of this message']")
        await page.wait_for_selector(".said .versions:has-text('1/2')")
        assert len(await texts(page)) == 2


async def test_an_answer_is_rated_a_conversation_renamed_and_both_are_found(page: "Page", firms: Database) -> None:
    async with served(firms, HubOptions(model=numbered())) as server:
        await sign_in(page, server)
        await ask(page, "What of the mulberries?")
        await page.click("[aria-label='Not a good answer']")
        await page.fill("[aria-label='Comment on this answer']", "Too short")
        assert "managers read it" in await page.inner_text(".run .feedback")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".feedback:has-text('Thank you')")

        await page.click("[aria-label='Rename this conversation']")
        await page.fill("[aria-label='Title of this conversation']", "Berries of the year")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".conversations a[aria-current]:has-text('Berries of the year')")
        await page.reload()
        await page.wait_for_selector("[aria-label='Not a good answer'][aria-pressed='true']")

        await page.fill("#search", "mulberr")
        await page.wait_for_selector(".conversations .snippet:has-text('What of the mulberries?')")
        await page.fill("#search", "nothing of the kind")
        await page.wait_for_selector(".conversations:has-text('Nothing found')")


async def test_a_name_that_a_model_gives_is_shown_once_it_is_there(
    page: "Page", firms: Database, tmp_path: Path
) -> None:
    let_go = asyncio.Event()

    async def pace() -> None:
        if model.requests[-1].messages[0].text == WORDS:
            await let_go.wait()

    def answer(request: ModelRequest) -> Turn:
        return says("Medlars in May" if request.messages[0].text == WORDS else "In May.")

    model = ScriptedModel(brain=answer, pace=pace)
    async with served(firms, HubOptions(model=model)) as server:
        server.hub.config.path = tmp_path / "system.yaml"
        server.hub.config.path.write_text("conversations: {titles: model}\n", encoding="utf-8")
        server.hub.config.reread()
        await sign_in(page, server)
        await ask(page, "When are they ripe?")
        await page.wait_for_selector(".conversations a[aria-current]:has-text('When are they ripe?')")
        let_go.set()
        await page.wait_for_selector(".conversations a[aria-current]:has-text('Medlars in May')")
        assert await page.title() == "Medlars in May · Prisma Glow"


async def test_a_line_behind_summarised_turns_opens_to_what_the_model_is_told_in_their_place(
    page: "Page", firms: Database
) -> None:
    def answer(request: ModelRequest) -> Turn:
        summarises = request.messages[0].text == INSTRUCTIONS
        return says("<b>They</b> spoke of medlars." if summarises else "Yes.")

    async with served(firms, HubOptions(model=ScriptedModel(brain=answer, context_window=16_000))) as server:
        await sign_in(page, server)
        for _ in range(5):
            await ask(page, "medlars " * 700)
        await page.reload()
        await page.click(".summarised summary")
        assert "<b>They</b> spoke of medlars." in await page.inner_text(".summarised")
        nodes = await page.locator(".log > *").evaluate_all("nodes => nodes.map(node => node.className)")
        assert 0 < nodes.index("summarised note") < len(nodes) - 2
        assert nodes[nodes.index("summarised note") - 1] == "run"
