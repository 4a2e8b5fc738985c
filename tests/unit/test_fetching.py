"""Pages are fetched from the public network alone: whatever name, form, redirect or second answer leads elsewhere."""

import gzip
import socket
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel import DomainError
from knowledge.fetching.addresses import address_of, is_open
from knowledge.fetching.connecting import resolve_by_system
from knowledge.fetching.fetcher import AGENT, WebFetcher
from knowledge.fetching.model import (
    NO_ALLOWANCE,
    Allowance,
    FetchLimits,
    Page,
    PageUnavailable,
    Unchanged,
)
from knowledge.fetching.robots import robots_of
from tests.support.website import Said, website

CLOSED = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.8", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.100.100.200", "100.64.0.1", "192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.251",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1", "203.0.113.9",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "100::1", "5f00::1",
]  # fmt: skip
OPEN = ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", CLOSED)
async def test_a_closed_address_is_never_connected_to(address: str) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return [address]

    await refused(WebFetcher(resolve=resolve), "http://inside.test/", "address_refused")


@pytest.mark.parametrize("address", OPEN)
def test_the_public_network_is_open(address: str) -> None:
    assert is_open(address_of(address), NO_ALLOWANCE)


@given(st.ip_addresses(v=4))
def test_no_address_that_python_calls_private_is_open(address: object) -> None:
    parsed = address_of(str(address))
    if parsed.is_private or parsed.is_multicast or parsed.is_reserved or parsed.is_loopback or parsed.is_link_local:
        assert not is_open(parsed, NO_ALLOWANCE)


@given(st.ip_addresses(v=6))
def test_no_address_of_version_6_that_python_calls_private_is_open(address: object) -> None:
    parsed = address_of(str(address))
    if not parsed.is_global:
        assert not is_open(parsed, NO_ALLOWANCE)


async def test_one_closed_address_among_open_ones_closes_the_name() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["93.184.215.14", "127.0.0.1"]

    await refused(WebFetcher(resolve=resolve), "http://both.test/", "address_refused")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://localhost/", "http://0/",
     "http://2130706433/", "http://0x7f.1/", "http://127.1/"],
)  # fmt: skip
async def test_this_machine_is_refused_however_it_is_written(url: str) -> None:
    await refused(WebFetcher(resolve=as_libc), url, "address_refused")


@pytest.mark.parametrize(
    "url",
    ["ftp://site.test/a", "file:///etc/passwd", "gopher://site.test/", "data:text/plain,a", "http://", "//site.test/",
     "http://a:b@site.test/", "http://site.test:22/", "http://site.test:6379/", "http://site.test:0/", "nonsense",
     "http://site.test:99999/", "http://[::1/", "http://site.test/" + "a" * 2000, "javascript:alert(1)",
     "http://0177.0.0.1/"],
)  # fmt: skip
async def test_what_is_no_url_to_be_fetched_is_refused_unresolved(url: str) -> None:
    async def resolve(host: str, _port: int) -> Sequence[str]:
        raise AssertionError(host)

    await refused(WebFetcher(resolve=resolve), url, "url_refused")


async def test_a_page_is_fetched_with_what_says_how_it_was() -> None:
    async with website(
        {"/a/Hand%20book.md": Said(content=b"# Hi", headers={"etag": '"1"', "Content-Type": "x/y"})}
    ) as site:
        page = await site.fetcher().fetch(site.url("/a/Hand%20book.md#part"))

        assert isinstance(page, Page)
        assert (page.content, page.etag, page.declared_type) == (b"# Hi", '"1"', "x/y")
        assert page.file_name == "Hand book.md"
        assert page.url == site.url("/a/Hand%20book.md")
        assert site.asked[-1][1]["host"] == f"site.test:{site.port}"
        again = await site.fetcher().fetch(site.url("/a/Hand%20book.md"), etag='"1"')
        assert isinstance(again, Unchanged)


async def test_a_mark_that_no_request_can_hold_is_forgotten() -> None:
    async with website({"/": Said(content=b"hi", headers={"etag": '"caf\xe9"', "last-modified": "\xe9"})}) as site:
        read = await site.fetcher().fetch(site.url("/"))
        assert isinstance(read, Page)
        assert (read.etag, read.last_modified) == (None, None)


async def test_a_redirect_is_followed_and_each_of_its_steps_is_checked() -> None:
    async with website() as site:
        site.pages = {
            "/start": sent_on("/next"),
            "/next": sent_on(site.url("/end")),
            "/end": Said(content=b"there"),
            "/inside": sent_on(site.url("/end", host="inside.test")),
            "/metadata": sent_on("http://169.254.169.254:80/latest/meta-data/"),
            "/file": sent_on("file:///etc/passwd"),
            "/port": sent_on("http://site.test:22/"),
            "/round": sent_on("/round"),
            "/nowhere": Said(status=302),
        }
        fetcher = site.fetcher(names={"inside.test": ["10.1.2.3"], "169.254.169.254": ["169.254.169.254"]})

        assert (await fetcher.page(site.url("/start"))).url == site.url("/end")
        await refused(fetcher, site.url("/inside"), "address_refused")
        await refused(fetcher, site.url("/metadata"), "address_refused")
        await refused(fetcher, site.url("/file"), "url_refused")
        await refused(fetcher, site.url("/port"), "url_refused")
        await refused(fetcher, site.url("/round"), "page_unavailable")
        await refused(fetcher, site.url("/nowhere"), "page_unavailable")


async def test_a_name_that_answers_otherwise_the_second_time_leads_nowhere_else() -> None:
    async with website({"/a": Said(content=b"a")}) as site:
        answers = [["127.0.0.1"], ["127.0.0.2"]]

        async def resolve(_host: str, _port: int) -> Sequence[str]:
            return answers.pop(0)

        allowance = Allowance(networks=(ip_network("127.0.0.1/32"),), ports=frozenset({site.port}))
        # The first connection asks for robots.txt; the name is asked again for the second, and checked again.
        await refused(WebFetcher(resolve=resolve, allowance=allowance), site.url("/a"), "address_refused")
        assert (site.paths, answers) == (["/robots.txt"], [])


async def test_each_connection_asks_the_name_once_and_goes_where_that_said() -> None:
    async with website({"/a": Said(content=b"a")}) as site:
        asked: list[str] = []

        async def resolve(host: str, _port: int) -> Sequence[str]:
            asked.append(host)
            return ["127.0.0.1"]

        allowance = Allowance(networks=(ip_network("127.0.0.1/32"),), ports=frozenset({site.port}))
        await WebFetcher(resolve=resolve, allowance=allowance).page(site.url("/a", host="no-such-name.test"))
        assert asked == ["no-such-name.test"] * len(site.paths)


async def test_a_page_is_left_once_it_is_too_large_packed_or_not() -> None:
    limits = FetchLimits(size_bytes=100_000)
    bomb = gzip.compress(bytes(50_000_000))
    async with website() as site:
        site.pages = {
            "/large": Said(content=b"x" * 200_000),
            "/declared": Said(headers={"Content-Length": "99999999999999999999"}),
            "/bomb": Said(content=bomb, headers={"Content-Encoding": "gzip"}),
            "/packed": Said(content=gzip.compress(b"y" * 90_000), headers={"Content-Encoding": "gzip"}),
            "/damaged": Said(content=b"no gzip", headers={"Content-Encoding": "gzip"}),
            "/odd": Said(content=b"x", headers={"Content-Encoding": "br"}),
        }
        fetcher = site.fetcher(limits)

        for path in ("/large", "/declared", "/bomb"):
            await refused(fetcher, site.url(path), "page_too_large")
        assert (await fetcher.page(site.url("/packed"))).content == b"y" * 90_000
        await refused(fetcher, site.url("/damaged"), "page_unavailable")
        await refused(fetcher, site.url("/odd"), "page_unavailable")


async def test_a_page_that_never_ends_is_waited_for_no_longer_than_is_allowed() -> None:
    async with website({"/slow": Said(content=b"a", headers={"Content-Length": "5"}, hangs=True)}) as site:
        fetcher = site.fetcher(FetchLimits(within=timedelta(milliseconds=300)))
        await refused(fetcher, site.url("/slow"), "page_unavailable")


async def test_an_answer_that_is_no_page_says_how_it_ended() -> None:
    async with website({"/gone": Said(status=410), "/broken": Said(status=500)}) as site:
        with pytest.raises(PageUnavailable, match="status 410") as told:
            await site.fetcher().page(site.url("/gone"))
        assert told.value.is_gone
        with pytest.raises(PageUnavailable, match="status 500") as told:
            await site.fetcher().page(site.url("/broken"))
        assert not told.value.is_gone
        await refused(site.fetcher(), site.url("/", host="unknown.test"), "page_unavailable")


async def test_what_robots_are_asked_not_to_fetch_is_not_fetched() -> None:
    rules = b"User-agent: *\nDisallow: /private\nAllow: /private/press$\n"
    async with website({"/robots.txt": Said(content=rules), "/private/press": Said(content=b"p")}) as site:
        await refused(site.fetcher(), site.url("/private/a"), "robots_refused")
        assert (await site.fetcher().page(site.url("/private/press"))).content == b"p"
        assert "/private/a" not in site.paths


@pytest.mark.parametrize(("said", "allowed"), [(404, True), (403, True), (500, False), (503, False), (429, False)])
async def test_rules_that_cannot_be_had_let_nobody_and_none_let_everybody(said: int, allowed: bool) -> None:
    async with website({"/robots.txt": Said(status=said), "/a": Said(content=b"a")}) as site:
        if allowed:
            assert (await site.fetcher().page(site.url("/a"))).content == b"a"
        else:
            await refused(site.fetcher(), site.url("/a"), "robots_refused")


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("", "/a", True),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: *\nDisallow: /", "/a", False),
        ("User-agent: *\nDisallow: /", "/robots.txt", True),
        (f"User-agent: {AGENT}\nAllow: /\n\nUser-agent: *\nDisallow: /", "/a", True),
        (f"User-agent: other\nUser-agent: {AGENT.upper()}/2\nDisallow: /x", "/x/1", False),
        (f"User-agent: {AGENT}\nDisallow: /x\nUser-agent: other\nDisallow: /", "/y", True),
        ("User-agent: *\nDisallow: /*.pdf$", "/a/b.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/a/b.pdf?x", True),
        ("User-agent: *\nDisallow: /a*c*e", "/abcde", False),
        ("User-agent: *\nDisallow: /a*c*e$", "/abcdef", True),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b", True),
        ("User-agent: *\nDisallow: /a/b\nAllow: /a/b", "/a/b", True),
        ("User-agent: *\nDisallow: /caf%C3%A9", "/caf\u00e9", False),
        ("User-agent: *\nDisallow: /a%2Fb", "/a/b", True),
        ("\ufeffuser-agent : * # all\r\n DISALLOW : /a # here", "/ab", False),
        ("Disallow: /a", "/a", True),
    ],
)
def test_rules_are_read_as_rfc_9309_has_it(rules: str, path: str, allowed: bool) -> None:
    assert robots_of(rules.encode(), AGENT).allows(path) is allowed


@pytest.mark.timeout(20)
def test_a_hostile_file_of_wildcards_is_answered() -> None:
    hostile = "User-agent: *\n" + ("Disallow: /" + "*a" * 200 + "*b$\n") * 1000
    assert robots_of(hostile.encode(), AGENT).allows("/" + "a" * 1900)


@given(st.binary(max_size=300), st.text(max_size=50))
def test_any_file_and_any_path_have_an_answer(content: bytes, path: str) -> None:
    robots_of(b"User-agent: *\nDisallow: " + content, AGENT).allows("/" + path.replace("\ud800", ""))


async def as_libc(host: str, port: int) -> Sequence[str]:
    """Numbers as the C library reads them, by which no name is looked up; else as the system does."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        return await resolve_by_system(host, port)


async def refused(fetcher: WebFetcher, url: str, code: str) -> None:
    with pytest.raises(DomainError) as told:
        await fetcher.page(url)
    assert told.value.code == code, told.value


def sent_on(to: str) -> Said:
    return Said(status=302, headers={"Location": to})
