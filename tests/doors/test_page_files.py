"""The page's files and the widget: what may run and stand in them, how they are sent, built, and how large they are."""

import gzip
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import httpx
import pytest
from fastapi import FastAPI

from agent.events import AgentEvent
from checks import web
from checks.node import why_missing
from domain.resources import resource_folder
from knowledge.parse.media import SUFFIXES
from knowledge.sources.model import ChangeKind
from knowledge.sources.port import SourceKind
from server.http.faults import answer_problems
from server.http.headers import SecureAnswers, admit_origins
from server.page.routes import assets, router
from tools.manifest_files import load_manifests

SOURCES = sorted((web.WEB / "src").rglob("*.ts"))
SCRIPTS = sorted(name for name in assets() if name.endswith(".js"))
WIDGET_MOST_BYTES = 60_000
"""Gzipped.  Source  issue 3, proof 8."""

UNSAFE = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML"
    r"|\beval\s*\(|new\s+Function|setTimeout\s*\(\s*[\"'`]|javascript:|\.cookie\b|localStorage|postMessage|importScripts"
)
"""Ways by which text could become markup or script, or a secret could outlive the tab."""
SITE = "https://intranet.example"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(redirect_slashes=False)
    app.include_router(router)
    answer_problems(app)
    admit_origins(app, (SITE,))
    app.add_middleware(SecureAnswers)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://glow.test") as opened:
        yield opened


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_source_turns_text_into_markup_or_code(path: Path) -> None:
    assert UNSAFE.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_code_of_text(name: str) -> None:
    assert (
        re.findall(r"\beval\s*\(|new Function\b|document\.write|importScripts", assets()[name].content.decode()) == []
    )


@pytest.mark.parametrize("name", sorted(assets()))
def test_nothing_is_loaded_from_elsewhere(name: str) -> None:
    text = assets()[name].content.decode().replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:src|href|url|import|from|fetch)\s*[=(]?\s*[\"']?(?:https?:)?//", text) == []


def test_widget_holds_no_way_to_tasks_schedules_and_sources() -> None:
    """They are for a person's own token, on the hub's own page; the page's program names them."""
    routes = (b"v1/tasks", b"v1/task-runs", b"v1/schedules", b"v1/knowledge/sources")
    assert [route for route in routes if route in assets()["widget.js"].content] == []
    assert [route for route in routes if route not in assets()["page.js"].content] == []


def test_page_holds_no_script_style_or_handler_of_its_own() -> None:
    html = assets()["index.html"].content.decode()
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", html, re.IGNORECASE) == []


def test_every_rule_of_policy_is_told_in_plain_words() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in resource_folder("manifests").glob("policies/*.cedar"))
    ids = set(re.findall(r'@id\("(\w+)"\)', rules))
    words = (web.WEB / "src" / "words.ts").read_text(encoding="utf-8")
    told = set(re.findall(r"^  (\w+): \"", words[words.index("const REASONS") :], re.MULTILINE))
    assert ids
    assert ids - told == set()


def test_tools_are_called_by_the_titles_of_their_manifests() -> None:
    manifests = {each.name: each.title for each in load_manifests(resource_folder("manifests"))}
    words = (web.WEB / "src" / "words.ts").read_text(encoding="utf-8")
    listed = words[words.index("const TITLES") : words.index("};")]
    titles = dict(re.findall(r'^  (\w+): "(.+)",$', listed, re.MULTILINE))
    assert titles
    assert titles == {name: manifests[name] for name in titles}


def test_every_kind_of_source_and_of_change_in_one_has_its_words() -> None:
    words = (web.WEB / "src" / "page" / "source_words.ts").read_text(encoding="utf-8")
    for name, kinds in (("KINDS", get_args(SourceKind)), ("CHANGES", get_args(ChangeKind))):
        _, _, rest = words.partition(f"export const {name}")
        assert set(re.findall(r"(\w+): \"", rest.partition("};")[0])) == set(kinds)


def test_the_file_picker_offers_what_is_read() -> None:
    source = (web.WEB / "src" / "uploads.ts").read_text(encoding="utf-8")
    offered = re.search(r'TAKEN =\s+"([^"]+)"', source)
    assert offered is not None
    assert set(offered[1].split(",")) == SUFFIXES


def test_every_event_of_a_run_is_known_to_the_widget() -> None:
    told = {each.__dataclass_fields__["type"].default for each in get_args(AgentEvent)}
    wire = (web.WEB / "src" / "wire.ts").read_text(encoding="utf-8")
    assert set(re.findall(r'\{ type: "([a-z.]+)"', wire)) == told


def test_widget_is_small_enough_for_other_peoples_pages() -> None:
    assert len(gzip.compress(assets()["widget.js"].content, 9)) <= WIDGET_MOST_BYTES


# What ships is what the sources say -----------------------------------------------------------------------------------


def test_what_ships_was_built_from_the_sources_that_are_here() -> None:
    assert web.stale(web.WEB, web.BUILT) == []


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    """The sources and what was built of them, to be changed."""
    sources, built = tmp_path / "web", tmp_path / "built"
    shutil.copytree(web.WEB, sources, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(web.BUILT, built)
    return sources, built


@pytest.mark.parametrize("name", ["src/words.ts", "src/page/page.css", "build.mjs", "package-lock.json", "src/new.ts"])
def test_changed_source_is_noticed_without_node(copies: tuple[Path, Path], name: str) -> None:
    sources, built = copies
    with (sources / name).open("a") as source:
        source.write("\n")
    assert web.stale(sources, built) == ["web/ has changed since it was built"]


@pytest.mark.parametrize("name", web.FILES)
def test_built_file_that_was_changed_or_lost_is_noticed_without_node(copies: tuple[Path, Path], name: str) -> None:
    sources, built = copies
    (built / name).write_text("changed by hand")
    assert web.stale(sources, built) == [f"{name} is not what was built"]
    (built / name).unlink()
    assert web.stale(sources, built) == [f"{name} is not what was built"]


@pytest.mark.parametrize("record", [None, "{", json.dumps({"sources": "", "files": {}})])
def test_record_that_is_missing_or_wrong_is_noticed(copies: tuple[Path, Path], record: str | None) -> None:
    sources, built = copies
    (built / web.RECORD).unlink() if record is None else (built / web.RECORD).write_text(record)
    assert web.stale(sources, built) != []


@pytest.mark.skipif(why_missing(web.WEB) is not None, reason=f"{why_missing(web.WEB)}")
@pytest.mark.timeout(300)
def test_built_anew_it_is_the_same_to_the_byte_and_its_types_and_tests_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert web.check() == 0
    assert "built anew and the same" in capsys.readouterr().out


# How it is sent -------------------------------------------------------------------------------------------------------


async def test_page_is_sent_with_a_policy_that_lets_only_its_own_files_run(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "dompurify")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_what_the_page_asks_for_is_there(client: httpx.AsyncClient) -> None:
    html = (await client.get("/")).text
    wanted = re.findall(r'(?:src|href)="([^"#]+)"', html)
    assert wanted == ["assets/mark.svg", "assets/page.css", "widget.js", "assets/page.js"]
    for path in wanted:
        answer = await client.get(f"/{path}")
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"]


@pytest.mark.parametrize("origin", [None, SITE, "https://anybody.example"])
async def test_widget_may_be_loaded_by_every_site(client: httpx.AsyncClient, origin: str | None) -> None:
    answer = await client.get("/widget.js", headers={} if origin is None else {"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] in ("*", origin)
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/assets/page.css", "/widget.js"])
async def test_file_is_sent_packed_to_whoever_takes_it_so(client: httpx.AsyncClient, path: str) -> None:
    packed = await client.get(path, headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    for given in ("identity", "br", "gzip;q=0", ""):
        plain = await client.get(path, headers={"Accept-Encoding": given})
        assert "content-encoding" not in plain.headers
        assert plain.content == packed.content
        assert len(plain.content) > int(packed.headers["content-length"])
        assert plain.headers["etag"] != packed.headers["etag"]
        assert "accept-encoding" in plain.headers["vary"].lower()


@pytest.mark.parametrize("path", ["/assets/page.js", "/widget.js"])
async def test_unchanged_file_is_not_sent_again(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "build.json", "..%2froutes.py", "%2e%2e%2froutes.py", "routes.py", "x" * 5000, "%00"],
)
async def test_name_that_is_no_file_of_the_page_is_not_found(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
