"""Documents and the places they are kept like, on the page: synced, deleted, brought back, and by whom."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from domain.kernel import Role, utc_now
from tests.browser.browsing import add_document, marks, sign_in
from tests.browser.task_cards import card_of, rest
from tests.support.database import Database
from tests.support.served import Served, served

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = marks

HOSTILE = "<img src=x onerror=window.hacked=1> letter"
LETTER = "# Quince letter\n\nQuince files are kept for nine years.\n"


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What sources of the first firm may read."""
    return tmp_path_factory.mktemp("papers")


@pytest.fixture(scope="module")
def config(papers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's file."""
    path = tmp_path_factory.mktemp("config") / "system.yaml"
    path.write_text(f"sources: {{folders: [{{path: {papers}, organizations: [firm-1]}}]}}\n")
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(firms: Database, config: Path) -> AsyncIterator[Served]:
    async with served(firms, runs_worker=True, config=config) as running:
        yield running


def folder_of(papers: Path, name: str, **files: str) -> Path:
    folder = papers / name
    folder.mkdir()
    for file, text in files.items():
        (folder / f"{file}.md").write_text(text)
    return folder


async def add_source(server: Served, name: str, folder: Path) -> None:
    """A source that is there already."""
    asked = {"kind": "folder", "name": name, "settings": {"path": str(folder)}}
    async with rest(server, "partner") as partner:
        answer = await partner.post("/v1/knowledge/sources", json=asked)
    assert answer.status_code == 201, answer.text


async def listed(server: Served, path: str, who: str = "partner") -> list[dict[str, Any]]:
    async with rest(server, who) as client:
        return (await client.get(path, params={"limit": 100})).json()["items"]


async def fill_in(page: "Page", name: str, path: str) -> None:
    await page.get_by_text("Add a source").click()
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_label("Folder on the server").fill(path)


async def test_folder_is_set_up_synced_looked_at_and_removed(page: "Page", server: Served, papers: Path) -> None:
    folder = folder_of(papers, "acme", **{"Lease": "# Lease\n\nThe orchard is leased.\n", HOSTILE: "# Of others\n"})
    (folder / "stamp.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    await sign_in(page, server, "partner", fragment="&sources")
    await fill_in(page, "Acme papers", str(folder))
    await page.get_by_label("How often").select_option("Every day")
    await page.get_by_role("button", name="Add source").click()
    card = card_of(page, "Acme papers")
    await card.wait_for()
    facts = card.locator(".facts")
    assert str(folder) in await facts.inner_text()
    assert "Every day at 07:00" in await facts.inner_text()
    assert "not yet" in await facts.inner_text()
    assert await page.title() == "Sources · Prisma Glow"

    await card.get_by_role("button", name="Sync now Acme papers").click()
    await card.locator(".run-head:has-text('completed')").wait_for()
    await facts.get_by_text("2 added, 1 could not be read").wait_for()
    await card.locator(".badge:text-is('synced')").wait_for()
    await card.get_by_text("What changed, item by item").click()
    await card.get_by_role("row", name="could not be read stamp.png").wait_for()
    await card.get_by_label("Show", exact=True).select_option("everything")
    await card.get_by_role("row", name="added Lease.md").wait_for()
    assert HOSTILE in await card.locator(".changes").inner_text()

    await card.get_by_text("Change it").click()
    await card.get_by_label("Called").fill("Papers of Acme")
    await card.get_by_role("button", name="Save").click()
    card = card_of(page, "Papers of Acme")
    await card.wait_for()
    assert await card_of(page, "Acme papers").count() == 0
    assert "Papers of Acme/Lease.md" in {each["uri"] for each in await listed(server, "/v1/knowledge/documents")}
    await card.get_by_text("Change it").click()
    await card.get_by_label("Called").fill("Acme papers")
    await card.get_by_role("button", name="Save").click()
    card = card_of(page, "Acme papers")
    await card.wait_for()

    remove = card.get_by_role("button", name="Remove Acme papers")
    await remove.click()
    assert "What lies there itself is left alone." in await card.locator(".confirm").inner_text()
    await card.get_by_role("button", name="Keep").click()
    assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove Acme papers"
    assert "Acme papers" in {each["name"] for each in await listed(server, "/v1/knowledge/sources")}
    await remove.click()
    await card.get_by_role("button", name="Remove and delete").click()
    await page.get_by_text("Removed: Acme papers. 2 documents from it are being deleted.").wait_for()
    assert await card.count() == 0
    assert "Acme papers" not in {each["name"] for each in await listed(server, "/v1/knowledge/sources")}
    assert (folder / "Lease.md").is_file()
    assert await page.locator("main :is(img, script)").count() == 0
    assert await page.evaluate("window.hacked") is None


async def test_folder_that_the_operator_does_not_name_is_refused_at_its_field(page: "Page", server: Served) -> None:
    await sign_in(page, server, "partner", fragment="&sources")
    await fill_in(page, "Elsewhere", "/etc")
    await page.get_by_role("button", name="Add source").click()
    await page.locator(".refusal").get_by_text("not below a folder that the operator lets this organization").wait_for()
    assert await page.evaluate("document.activeElement.id") == "source-path"
    assert await page.get_attribute("#source-path", "aria-invalid") == "true"


async def test_each_kind_asks_for_its_own_fields_and_what_is_left_empty_is_left_out(
    page: "Page", server: Served
) -> None:
    await sign_in(page, server, "partner", fragment="&sources")
    await page.get_by_text("Add a source").click()
    await page.get_by_label("Name", exact=True).fill("Regulator")
    await page.get_by_label("Kind").select_option("Google Drive")
    assert await page.get_by_label("Folder on the server").is_hidden()
    await page.get_by_role("button", name="Add source").click()
    await page.locator(".refusal").get_by_text("the operator has set up no Google account").wait_for()

    await page.get_by_label("Kind").select_option("Web site")
    await page.get_by_label("First pages, one a line").fill("https://regulator.example/a\nhttps://regulator.example/b")
    await page.get_by_label("Pages at most").fill("50")
    await page.get_by_role("button", name="Add source").click()
    await card_of(page, "Regulator").wait_for()
    (added,) = [each for each in await listed(server, "/v1/knowledge/sources") if each["name"] == "Regulator"]
    assert added["settings"]["urls"] == ["https://regulator.example/a", "https://regulator.example/b"]
    assert (added["settings"]["pages"], added["audience"], added["trust"]) == (50, "firm", "external")
    assert await card_of(page, "Regulator").get_by_text("when somebody presses “Sync now”").is_visible()
    assert await page.get_by_label("Name", exact=True).input_value() == ""


async def test_who_may_sync_and_set_up_is_offered_that_and_others_see_the_list(
    page: "Page", server: Served, papers: Path
) -> None:
    await add_source(server, "Ledgers", folder_of(papers, "ledgers", Ledger="# Ledger\n\nOf 2026.\n"))
    card = card_of(page, "Ledgers")
    await sign_in(page, server, Role.READONLY, fragment="&sources")
    await card.wait_for()
    assert await card.get_by_role("button").count() == 0
    assert await page.locator("main form").count() == 0

    await page.evaluate("sessionStorage.clear(); localStorage.clear()")
    await page.goto("about:blank")
    await sign_in(page, server, "employee", fragment="&sources")
    await card.get_by_role("button", name="Sync now Ledgers").click()
    await card.locator(".facts:has-text('1 added')").wait_for()
    assert await card.get_by_role("button", name="Remove").count() == 0
    assert await page.locator("main form").count() == 0

    await page.evaluate("sessionStorage.clear(); localStorage.clear()")
    await page.goto("about:blank")
    await sign_in(page, server, "client")
    await page.locator("nav .view:has-text('Documents')").wait_for()
    assert await page.locator("nav .view:has-text('Sources')").count() == 0


async def test_document_is_deleted_until_a_day_and_brought_back(page: "Page", server: Served, tmp_path: Path) -> None:
    letter = tmp_path / "Quince.md"
    letter.write_text(LETTER)
    await sign_in(page, server, fragment="&documents")
    await add_document(page, str(letter), "Quince.md")
    delete = page.get_by_role("button", name="Delete Quince.md")
    await delete.click()
    confirm = page.locator(".confirm:visible")
    assert "It can be restored until" in await confirm.inner_text()
    until = datetime.fromisoformat(await confirm.locator("time").get_attribute("datetime") or "")
    assert abs(until - utc_now() - timedelta(days=30)) < timedelta(hours=1)
    await page.keyboard.press("Escape")
    assert await confirm.count() == 0
    assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Delete Quince.md"

    await delete.click()
    await page.get_by_role("button", name="Delete now").click()
    await page.locator("[role=status]:has-text('Deleted: Quince.md. It can be restored below until')").wait_for()
    assert await delete.count() == 0
    assert "Quince.md" not in {each["title"] for each in await listed(server, "/v1/knowledge/documents", "employee")}

    await page.set_input_files("#files", str(letter))
    await page.wait_for_selector("tr:has-text('Quince.md'):has-text('ready')")
    restore = page.get_by_role("button", name="Restore Quince.md")
    await restore.click()
    await page.locator(".refusal:has-text('Another document of its name or content is there by now')").wait_for()
    await delete.click()
    await page.get_by_role("button", name="Delete now").click()
    await restore.nth(1).wait_for()
    await restore.first.click()
    await page.locator("[role=status]:has-text('Restored: Quince.md.')").wait_for()
    await page.wait_for_selector("tr:has-text('Quince.md'):has-text('ready')")
    assert await restore.count() == 1
    left = await listed(server, "/v1/knowledge/deleted-documents", "employee")
    assert [each["title"] for each in left] == ["Quince.md"]


async def test_who_may_not_delete_a_document_is_offered_no_deletion_and_no_list_of_the_deleted(
    page: "Page", server: Served
) -> None:
    await sign_in(page, server, "employee", fragment="&documents")
    await page.get_by_role("row", name="Policy").wait_for()
    assert await page.get_by_role("button", name="Delete Policy").count() == 0  # the partner's

    await page.evaluate("sessionStorage.clear(); localStorage.clear()")
    await page.goto("about:blank")
    await sign_in(page, server, Role.READONLY, fragment="&documents")
    await page.get_by_role("row", name="Policy").wait_for()
    assert await page.get_by_role("button", name="Delete").count() == 0
    assert await page.get_by_role("columnheader", name="Delete").count() == 0
    assert await page.get_by_role("heading", name="Deleted").count() == 0


async def test_whose_words_a_document_holds_is_said_anew_once_it_is_confirmed(
    page: "Page", server: Served, tmp_path: Path
) -> None:
    await sign_in(page, server, fragment="&documents")
    (tmp_path / "Medlars.md").write_text("# Medlars\n\nWords of the firm.\n")
    await add_document(page, str(tmp_path / "Medlars.md"), "Medlars.md")
    row = page.get_by_role("row", name="Medlars.md")
    change = row.get_by_role("button", name="Change whose words Medlars.md holds")
    await change.click()
    choice = row.get_by_role("combobox", name="Whose words Medlars.md holds")
    assert await choice.input_value() == "external"
    await choice.select_option("internal")
    await row.get_by_role("button", name="Keep").click()
    assert "Somebody else" in await row.inner_text()
    assert await page.evaluate("document.activeElement.textContent") == "Change"

    await change.click()
    await choice.select_option("internal")
    await row.get_by_role("button", name="Change it").click()
    await row.locator(".writer:has-text('The firm')").wait_for()
    (kept,) = [each for each in await listed(server, "/v1/knowledge/documents") if each["title"] == "Medlars.md"]
    assert kept["trust"] == "internal"
    # What others uploaded is theirs to say, below a MANAGER.
    assert await page.get_by_role("button", name="Change whose words Policy holds").count() == 0
