"""A browser for the page's tests: where Chromium is found, how it is started, and what its user does most."""

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.firms import FIRM_A, Firm
from tests.support.served import Served

if TYPE_CHECKING:
    from playwright.async_api import Page, Request

_PROGRAMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/opt/google/chrome/chrome",
    "/snap/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _PROGRAMS)), None)

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Chromium has no sandbox for root, and refuses to start with one.
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),
)

marks = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found; CHROMIUM= names one"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]
"""Of every module whose tests open the page."""


async def sign_in(
    page: "Page", server: Served, who: str = "employee", fragment: str = "", *, firm: Firm = FIRM_A
) -> None:
    """Open the page by the link of one of the firm's people."""
    await page.goto(f"{server.url}/#token={server.token(who, firm=firm)}{fragment}")
    await page.wait_for_selector(".me")


async def ask(page: "Page", message: str) -> None:
    """Say something, and wait until it is answered."""
    await page.fill("#message", message)
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
    await page.wait_for_selector(".run .text, .run .banner")


async def ask_for_approval(page: "Page", message: str) -> None:
    """Say something whose run waits for a person's answer, and wait until it does."""
    await page.wait_for_selector(".composer button[type=submit]:not([hidden])")
    await page.fill("#message", message)
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".sheet.waits .decide")


def messages_of(page: "Page") -> list[dict[str, str]]:
    """The messages that the page sends from here on, as they go out."""
    sent: list[dict[str, str]] = []

    def note(request: "Request") -> None:
        if request.method == "POST" and request.url.endswith("/v1/chat"):
            sent.append(request.post_data_json or {})

    page.on("request", note)
    return sent


async def add_document(page: "Page", path: str, title: str) -> None:
    """Drop a file on the view of the documents, and wait until it can be searched."""
    await page.set_input_files("#files", path)
    await page.wait_for_selector(f"tr:has-text('{title}'):has-text('ready')")
