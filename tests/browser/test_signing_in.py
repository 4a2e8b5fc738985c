"""Who the page acts as: a token leaves the address bar, stays in its tab, and replaces nobody's unasked."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from domain.kernel import PrincipalId, Role
from tests.browser.browsing import marks, sign_in
from tests.support.firms import FIRM_A
from tests.support.served import Served

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = marks


async def shown_as(page: "Page") -> str:
    """The address of the person whom the page names at its side."""
    await page.wait_for_selector(".me")
    return await page.get_attribute(".me strong", "title") or ""


async def acts_as(page: "Page") -> str:
    """The address of the person for whom the page's requests are made."""
    return await page.evaluate(
        """async () => {
          const headers = { Authorization: `Bearer ${sessionStorage.getItem("glow.token")}` };
          return (await (await fetch("/v1/me", { headers })).json()).principal;
        }"""
    )


async def open_link(page: "Page", server: Served, token: str, *, anew: bool) -> None:
    """Follow a link that carries a token, in the page at hand or in the same tab from another site."""
    if anew:
        await page.goto("about:blank")
    await page.goto(f"{server.url}/#token={token}")


async def test_token_leaves_the_address_bar_and_stays_in_the_tab(page: "Page", server: Served) -> None:
    await sign_in(page, server)
    assert "token" not in page.url
    await page.reload()
    assert await shown_as(page) == "employee@firm-1.example"
    assert await page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("anew", [False, True])
async def test_link_of_somebody_else_is_asked_about_and_can_be_declined(
    page: "Page", server: Served, anew: bool
) -> None:
    await sign_in(page, server, fragment="&tasks")
    await open_link(page, server, server.token(Role.MANAGER), anew=anew)
    await page.wait_for_selector("text=Sign in as somebody else?")
    people = await page.locator(".person").all_inner_texts()
    assert ["employee@firm-1.example" in people[0], "manager@more-1.example" in people[1]] == [True, True]
    assert "token" not in page.url
    assert await page.locator(".me").is_hidden()
    assert await acts_as(page) == "employee@firm-1.example"

    await page.click("text=Stay as")
    assert await shown_as(page) == "employee@firm-1.example"
    assert await acts_as(page) == "employee@firm-1.example"


@pytest.mark.parametrize("anew", [False, True])
async def test_link_of_somebody_else_is_followed_only_by_a_click_and_then_named(
    page: "Page", server: Served, anew: bool
) -> None:
    await sign_in(page, server)
    await open_link(page, server, f"{server.token(Role.MANAGER)}&tasks", anew=anew)
    await page.click("text=Switch to")
    assert await shown_as(page) == "manager@more-1.example"
    assert await acts_as(page) == "manager@more-1.example"
    await page.wait_for_selector("h1:has-text('Tasks')")


async def test_going_back_from_the_question_leaves_everything_as_it_was(page: "Page", server: Served) -> None:
    await sign_in(page, server, fragment="&tasks")
    await page.wait_for_selector("h1:has-text('Tasks')")
    await open_link(page, server, server.token(Role.MANAGER), anew=False)
    await page.wait_for_selector("text=Sign in as somebody else?")
    await page.go_back()
    await page.wait_for_selector("h1:has-text('Tasks')")
    assert await shown_as(page) == await acts_as(page) == "employee@firm-1.example"


async def test_newer_token_of_the_same_person_is_taken_without_a_question(page: "Page", server: Served) -> None:
    await sign_in(page, server)
    newer = server.hub.tokens.sign(PrincipalId(FIRM_A.id("employee")), "firm-1", "api", timedelta(hours=2))
    await open_link(page, server, f"{newer}&tasks", anew=False)
    await page.wait_for_selector("h1:has-text('Tasks')")
    assert await page.evaluate("sessionStorage.getItem('glow.token')") == newer
    assert await shown_as(page) == await acts_as(page) == "employee@firm-1.example"


@pytest.mark.parametrize("audience", ["mcp", None])
async def test_link_that_opens_nothing_leaves_whoever_is_signed_in(
    page: "Page", server: Served, audience: str | None
) -> None:
    await sign_in(page, server)
    await open_link(page, server, server.token("partner", "mcp") if audience == "mcp" else "nonsense", anew=False)
    await page.wait_for_selector("text=It was not used.")
    await page.click("text=Go on")
    assert await shown_as(page) == await acts_as(page) == "employee@firm-1.example"


async def test_link_does_not_step_in_for_a_sign_in_that_has_ended(page: "Page", server: Served) -> None:
    await sign_in(page, server)
    await page.evaluate("sessionStorage.setItem('glow.token', 'ended')")
    await open_link(page, server, server.token(Role.MANAGER), anew=True)
    await page.wait_for_selector("text=Your sign-in has ended.")
    assert "manager@more-1.example" in await page.inner_text(".person")
    await page.click("text=Do not sign in")
    await page.wait_for_selector("form.sign-in")
    assert await page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("token", ["nonsense", "mcp"])
async def test_token_that_opens_nothing_is_said_so(page: "Page", server: Served, token: str) -> None:
    await page.goto(f"{server.url}/#token={server.token(audience='mcp') if token == 'mcp' else token}")
    await page.wait_for_selector(".sign-in [role=alert]")
    assert await page.locator(".me").count() == 0


async def test_plain_link_to_an_approval_opens_it_after_signing_in(page: "Page", server: Served) -> None:
    await page.goto(f"{server.url}/#approval=00000000-0000-4000-8000-000000000000")
    await page.fill("#token", server.token())
    await page.click("form button[type=submit]")
    await page.wait_for_selector("text=There is no such thing, or it is not yours to see.")
