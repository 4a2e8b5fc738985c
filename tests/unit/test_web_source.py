"""A site is gone through as it asks to be; what it takes away is gone, and what it cannot give today stays."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.fetching.model import FetchLimits
from knowledge.fetching.robots import robots_of
from knowledge.sources.port import (
    EVERYONE,
    ItemGone,
    ItemUnavailable,
    ItemUnreadable,
    SourceRefused,
    SourceUnavailable,
)
from knowledge.sources.web.links import normal, said_by
from knowledge.sources.web.opening import OpenWeb
from knowledge.sources.web.source import WebScope, WebSource
from tests.support.driven_drive import no_wait
from tests.support.followed import Followed
from tests.support.website import Said, Website, website

HTML = {"Content-Type": "text/html"}
MOST_BYTES = 1024 * 1024


def page(*links: str, words: str = "words", head: str = "", **headers: str) -> Said:
    anchors = "".join(f'<a href="{link}">on</a>' for link in links)
    content = f"<html><head>{head}</head><body>{words}{anchors}</body></html>".encode()
    return Said(content=content, headers={**HTML, **{name.replace("_", "-"): value for name, value in headers.items()}})


@asynccontextmanager
async def reading(site: Website, waits: list[float] | None = None, **bounds: int) -> AsyncGenerator[WebSource]:
    async def wait(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    scope = replace(WebScope(starts=(site.url("/"),), within_path="/"), **bounds)
    async with site.fetcher(FetchLimits(within=timedelta(seconds=5), connect=timedelta(seconds=1))).visit() as visit:
        yield WebSource(visit, scope, sleep=wait)


async def followed(site: Website, kept: Followed | None = None, **bounds: int) -> Followed:
    kept = kept or Followed()
    async with reading(site, waits=None, **bounds) as source:
        assert await kept.read(source)
    return kept


WRONG: list[dict[str, object]] = [
    {}, {"urls": []}, {"urls": "x"}, {"urls": ["ftp://a.test/"]}, {"urls": ["http://u:p@a.test/"]},
    {"urls": ["http://a.test/", "http://b.test/"]}, {"urls": ["http://a.test/"], "path": "/docs/"},
    {"urls": ["http://a.test/"], "pages": 0}, {"urls": ["http://a.test/"], "pages": True},
    {"urls": ["http://a.test/"], "token": "x"}, {"urls": [7]},
]  # fmt: skip


def shown(site: Website, kept: Followed) -> Mapping[str, str]:
    """Versions by paths."""
    return {key.removeprefix(site.url("")): item.version for key, item in kept.items.items()}


async def test_a_site_is_read_along_its_links_and_no_further_than_itself() -> None:
    pages = {
        "/": page("a.html", "/b?x=1&amp;y=2", "https://elsewhere.test/", "mailto:x@y.test", "/a.html#part"),
        "/a.html": page("/deep/c", "../../b?x=1&y=2"),
        "/b?x=1&y=2": Said(content=b"plain words", headers={"Content-Type": "text/plain; charset=utf-8"}),
        "/deep/c": page("/"),
        "/unlinked": page(),
    }
    async with website(pages) as site:
        kept = await followed(site)
        assert set(shown(site, kept)) == {"/", "/a.html", "/b?x=1&y=2", "/deep/c"}
        found = kept.items[site.url("/b?x=1&y=2")]
        assert (found.readers, found.url, found.media_type) == (EVERYONE, found.key, "text/plain")
        assert found.version == sha256(b"plain words").hexdigest()[:32]
        assert kept.items[site.url("/")].path == f"site.test:{site.port}"
        assert all(each.is_full for each in kept.pages)
        assert site.paths.count("/robots.txt") == 1
        async with reading(site) as source:
            content = await source.read(found, MOST_BYTES)
        assert (content.content, content.file_name) == (b"plain words", "b")


async def test_what_robots_are_asked_not_to_read_is_not_even_asked_for_and_the_pause_is_kept() -> None:
    rules = b"User-agent: *\nDisallow: /private/\nCrawl-delay: 7\n"
    pages = {"/robots.txt": Said(content=rules), "/": page("/private/a", "/b"), "/b": page(), "/private/a": page()}
    async with website(pages) as site:
        waits: list[float] = []
        async with reading(site, waits) as source:
            kept = Followed()
            await kept.read(source)
        assert set(shown(site, kept)) == {"/", "/b"}
        assert "/private/a" not in site.paths
        assert len(waits) == 2
        assert all(6 < pause <= 14 for pause in waits)


async def test_a_site_that_asks_for_more_patience_than_we_have_is_not_read() -> None:
    async with website({"/robots.txt": Said(content=b"User-agent: *\nCrawl-delay: 3600\n"), "/": page()}) as site:
        with pytest.raises(SourceRefused, match="3600 s"):
            await followed(site)


async def test_pages_say_themselves_whether_they_are_taken_in_and_where_they_are_at_home() -> None:
    pages = {
        "/": page("/copy?session=1", "/hidden", "/end", "/moved", '/b" rel="nofollow'),
        "/copy?session=1": page(head='<link rel="canonical" href="/home">'),
        "/home": page(head='<link rel="canonical" href="/home">'),
        "/hidden": page("/behind", head='<meta name="robots" content="noindex">'),
        "/behind": page(),
        "/end": page("/never", head='<META content="nofollow, noarchive" name=ROBOTS>'),
        "/never": page(),
        "/b": page(),
        "/moved": Said(status=301, headers={"Location": "/home"}),
    }
    async with website(pages) as site:
        kept = await followed(site)
        assert set(shown(site, kept)) == {"/", "/home", "/behind", "/end"}


async def test_what_has_not_changed_is_not_sent_again() -> None:
    pages = {"/": page("/a", ETag='"1"'), "/a": page(ETag='"a1"')}
    async with website(pages) as site:
        kept = await followed(site)
        before = shown(site, kept)
        site.asked.clear()
        await followed(site, kept)
        assert shown(site, kept) == before
        assert [told.get("if-none-match") for path, told in site.asked if path != "/robots.txt"] == ['"1"', '"a1"']
        site.pages["/a"] = page(words="other", ETag='"a2"')
        await followed(site, kept)
        assert shown(site, kept)["/"] == before["/"]
        assert shown(site, kept)["/a"] != before["/a"]


@pytest.mark.parametrize("status", [404, 410, 403])
async def test_a_page_that_the_site_takes_away_is_gone(status: int) -> None:
    async with website({"/": page("/a", "/b"), "/a": page(), "/b": page()}) as site:
        kept = await followed(site)
        site.pages["/a"] = Said(status=status)
        await followed(site, kept)
        assert set(shown(site, kept)) == {"/", "/b"}


async def test_a_page_that_fails_today_stays_as_it_was() -> None:
    async with website({"/": page("/a", "/b"), "/a": page(), "/b": page()}) as site:
        kept = await followed(site)
        before = shown(site, kept)
        site.pages["/a"] = Said(status=503)
        site.pages["/"] = page("/b")
        await followed(site, kept)
        assert shown(site, kept)["/a"] == before["/a"]
        assert kept.pages[-1].note is not None
        site.pages["/a"] = page(words="back")
        await followed(site, kept)
        assert shown(site, kept)["/a"] != before["/a"]


@pytest.mark.parametrize("down", ["start", "too many requests", "robots", "refuses connections"])
async def test_a_site_that_is_down_loses_nothing(down: str) -> None:
    pages = {"/": page(*[f"/{n}" for n in range(30)]), **{f"/{n}": page(words=str(n)) for n in range(30)}}
    async with website(pages) as site:
        kept = await followed(site)
        before = shown(site, kept)
        match down:
            case "start":
                site.pages["/"] = Said(status=503)
            case "too many requests":
                site.pages |= {f"/{n}": Said(status=429) for n in range(30)}
            case "robots":
                site.pages["/robots.txt"] = Said(status=500)
            case _:
                site.port = 9
        with pytest.raises(SourceUnavailable):
            await followed(site, kept)
        assert len(kept.items) == len(before)


@pytest.mark.parametrize("fails", ["status", "silence"])
async def test_pages_that_fail_cost_themselves_however_many_there_are(fails: str) -> None:
    failing = range(8) if fails == "silence" else range(30)
    pages = {"/": page(*[f"/{n}" for n in range(31)]), **{f"/{n}": page(words=str(n)) for n in range(31)}}
    async with website(pages) as site:
        kept = await followed(site)
        before = shown(site, kept)
        site.pages |= {f"/{n}": Said(status=502) if fails == "status" else Said(drops=True) for n in failing}
        site.pages["/30"] = page(words="other")
        await followed(site, kept)
        after = shown(site, kept)
        assert [path for path in before if after.get(path) != before[path]] == ["/30"]
        assert site.url("/0") in "".join(each.note or "" for each in kept.pages)


async def test_a_page_that_fails_when_it_is_read_costs_itself_and_a_site_that_does_not_answer_is_left_alone() -> None:
    async with website({"/": page("/a"), "/a": page()}) as site:
        kept = await followed(site)
        found = kept.items[site.url("/a")]
        for failing in (Said(status=503), Said(drops=True), Said(status=302, headers={"Location": "http://x.test/"})):
            site.pages["/a"] = failing
            async with reading(site) as source:
                with pytest.raises(ItemUnavailable):
                    await source.read(found, MOST_BYTES)
        site.pages = {"/a": page(), "/robots.txt": Said(content=b"User-agent: *\nDisallow: /a\n")}
        async with reading(site) as source:
            with pytest.raises(ItemUnavailable, match="robots"):
                await source.read(found, MOST_BYTES)
        async with reading(site) as source:
            site.pages = {"/robots.txt": Said(drops=True), "/a": Said(drops=True)}
            with pytest.raises(SourceUnavailable):
                await source.read(found, MOST_BYTES)


async def test_a_page_that_leads_to_a_site_whose_robots_cannot_be_asked_stays_as_it_was() -> None:
    async with website({"/": page("/a"), "/a": page()}) as site:
        kept = await followed(site)
        site.pages["/a"] = Said(status=302, headers={"Location": site.url("/b", host="other.test")})
        site.pages["/robots.txt"] = Said(status=404)
        scope = WebScope(starts=(site.url("/"),), within_path="/")
        async with site.fetcher(names={"other.test": ["127.0.0.1"]}).visit() as visit:
            site.robots_of["other.test"] = Said(status=503)
            await kept.read(WebSource(visit, scope, sleep=no_wait))
        assert set(shown(site, kept)) == {"/", "/a"}


async def test_a_new_page_that_failed_is_tried_again_though_nothing_links_to_it_any_more() -> None:
    async with website({"/": page("/a", "/b"), "/a": Said(status=500), "/b": page()}) as site:
        kept = await followed(site)
        assert set(shown(site, kept)) == {"/", "/b"}
        site.pages |= {"/": page(), "/a": page()}
        await followed(site, kept)
        assert set(shown(site, kept)) == {"/", "/a", "/b"}


async def test_a_reading_that_breaks_off_anywhere_goes_on_there() -> None:
    pages = {"/": page(*[f"/{n}" for n in range(45)]), **{f"/{n}": page(words=str(n)) for n in range(45)}}
    async with website(pages) as site:
        whole = await followed(site)
        site.asked.clear()
        kept = Followed()
        done = False
        while not done:
            async with reading(site) as source:
                done = await kept.read(source, most_pages=1)
        assert shown(site, kept) == shown(site, whole)
        assert len(kept.items) == 46
        assert len(site.paths) - site.paths.count("/robots.txt") == 46


async def test_a_site_without_end_is_read_to_its_bounds_and_that_is_said() -> None:
    pages = {"/": page("/0"), **{f"/{n}": page(f"/{n + 1}", f"/{n + 100}") for n in range(300)}}
    async with website(pages) as site:
        kept = await followed(site, pages=20, depth=1000)
        assert len(kept.items) == 20
        assert any("more than 20 pages" in (each.note or "") for each in kept.pages)
        assert set(shown(site, await followed(site, depth=2))) == {"/", "/0", "/1", "/100"}
        assert len((await followed(site, all_bytes=1000)).items) < 20


async def test_time_is_a_bound_too_and_what_was_known_stays() -> None:
    pages = {"/": page(*[f"/{n}" for n in range(15)]), **{f"/{n}": page(words=str(n)) for n in range(15)}}
    async with website(pages) as site:
        kept = await followed(site)
        now = datetime.now(UTC)
        times = iter([now, now, now, *[now + timedelta(hours=9)] * 100])
        scope = WebScope(starts=(site.url("/"),), within_path="/")
        async with site.fetcher().visit() as visit:
            await kept.read(WebSource(visit, scope, clock=lambda: next(times), sleep=no_wait))
        assert len(kept.items) == 16


async def test_a_page_too_large_costs_itself_alone() -> None:
    async with website({"/": page("/a", "/b"), "/a": Said(content=b"x" * 5000), "/b": page()}) as site:
        kept = await followed(site, page_bytes=4000)
        assert set(shown(site, kept)) == {"/", "/b"}
        async with reading(site) as source:
            with pytest.raises(ItemUnreadable):
                await source.read(kept.items[site.url("/b")], 10)
            del site.pages["/b"]
            with pytest.raises(ItemGone):
                await source.read(kept.items[site.url("/b")], MOST_BYTES)


async def test_a_cursor_of_another_site_or_of_nothing_begins_anew() -> None:
    async with website({"/": page()}) as site:
        for cursor in ("nonsense", "", "0" * 50):
            assert set(shown(site, await followed(site, Followed(cursor=cursor)))) == {"/"}


async def test_settings_name_one_site_of_the_public_network() -> None:
    async with website({"/docs/": page("/docs/a", "/other"), "/docs/a": page(), "/other": page()}) as site:
        opener = OpenWeb(site.fetcher(), sleep=no_wait)
        for wrong in WRONG:
            with pytest.raises(SourceRefused):
                opener.check(wrong, "acme-audit")
        kept = opener.check({"urls": [site.url("/docs/#top")], "path": "/docs/"}, "acme-audit")
        assert kept == {"urls": [site.url("/docs/")], "path": "/docs/", "pages": 200, "depth": 5}
        async with opener(kept, "acme-audit") as source:
            items = Followed()
            await items.read(source)
        assert set(shown(site, items)) == {"/docs/", "/docs/a"}


async def test_one_page_that_leads_into_our_own_network_costs_itself_alone() -> None:
    async with website() as site:
        inside = Said(status=302, headers={"Location": site.url("/b", host="inside.test")})
        site.pages = {"/": page("/go", "/b"), "/go": inside, "/b": page()}
        kept = await followed(site)
        assert set(shown(site, kept)) == {"/", "/b"}


async def test_a_site_within_our_own_network_is_refused() -> None:
    async with website({"/": page()}) as site:
        fetcher = site.fetcher(names={"inside.test": ["10.0.0.1"]})
        opener = OpenWeb(fetcher, sleep=no_wait)
        async with opener({"urls": ["http://inside.test/"]}, "acme-audit") as source:
            with pytest.raises(SourceRefused):
                await Followed().read(source)


@pytest.mark.parametrize(
    ("rules", "delay_s"),
    [
        (b"User-agent: *\nCrawl-delay: 2.5", 2.5),
        (b"User-agent: *\nCrawl-delay: 5\n\nUser-agent: prisma-glow\nCrawl-delay: 1\nDisallow: /x", 1),
        (b"User-agent: *\nCrawl-delay: 5\n\nUser-agent: prisma-glow\nDisallow: /x", None),
        (b"Crawl-delay: 5", None),
        (b"User-agent: *\nCrawl-delay: inf", None),
        (b"User-agent: *\nCrawl-delay: -3", None),
    ],
)
def test_the_pause_that_a_site_asks_for_is_of_its_rules_for_us(rules: bytes, delay_s: float | None) -> None:
    assert robots_of(rules, "prisma-glow").delay_s == delay_s


@given(st.binary(max_size=2000))
def test_whatever_a_page_holds_its_links_are_whole_addresses(content: bytes) -> None:
    for link in said_by(b"<a href=" + content, "http://site.test/a").links:
        assert normal(link) == link


def test_a_page_made_to_hold_us_up_is_looked_through_at_once() -> None:
    for hostile in (b"<a " * 300_000, b"<!--" * 300_000, b"<a href='" * 200_000, b"<a " + b"x=" * 500_000):
        said_by(hostile, "http://site.test/")
