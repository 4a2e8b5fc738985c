"""The page's files: what may run in them, what may not stand in them, and how they are sent."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from domain.resources import resource_folder
from server.http.faults import answer_problems
from server.page.routes import assets, router

SCRIPTS = sorted(name for name in assets() if name.endswith(".js"))

UNSAFE = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML"
    r"|\beval\s*\(|new\s+Function|setTimeout\s*\(\s*[\"'`]|javascript:|\.cookie\b|localStorage|postMessage|importScripts"
)
"""Ways by which text could become markup or script, or a secret could outlive the tab."""


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(redirect_slashes=False)
    app.include_router(router)
    answer_problems(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://glow.test") as opened:
        yield opened


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_turns_text_into_markup_or_code(name: str) -> None:
    assert UNSAFE.findall(assets()[name].content.decode()) == []


@pytest.mark.parametrize("name", sorted(assets()))
def test_nothing_is_loaded_from_elsewhere(name: str) -> None:
    text = assets()[name].content.decode().replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:src|href|url|import|from|fetch)\s*[=(]?\s*[\"']?(?:https?:)?//", text) == []


def test_page_holds_no_script_style_or_handler_of_its_own() -> None:
    html = assets()["index.html"].content.decode()
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", html, re.IGNORECASE) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_import_is_a_file_that_is_served(name: str) -> None:
    imported = re.findall(r'from "\./([^"]+)"', assets()[name].content.decode())
    assert set(imported) <= set(assets())


def test_every_rule_of_policy_is_told_in_plain_words() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in resource_folder("manifests").glob("policies/*.cedar"))
    ids = set(re.findall(r'@id\("(\w+)"\)', rules))
    words = assets()["words.js"].content.decode()
    told = set(re.findall(r"^  (\w+): \"", words[words.index("const REASONS") :], re.MULTILINE))
    assert ids
    assert ids - told == set()


async def test_page_is_sent_with_a_policy_that_lets_only_its_own_files_run(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_what_the_page_asks_for_is_there(client: httpx.AsyncClient) -> None:
    html = (await client.get("/")).text
    wanted = re.findall(r'(?:src|href)="(assets/[^"]+)"', html)
    assert len(wanted) == 3
    for path in wanted:
        answer = await client.get(f"/{path}")
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"]


async def test_unchanged_file_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/assets/page.js")
    again = await client.get("/assets/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2froutes.py", "%2e%2e%2froutes.py", "routes.py", "x" * 5000, "%00"])
async def test_name_that_is_no_file_of_the_page_is_not_found(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
