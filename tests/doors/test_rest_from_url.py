"""Pages taken in by their URL: one recorded call each, kept as what they are, refused in words."""

from collections.abc import AsyncIterator

import pytest

from server.hub import HubOptions
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors, problem_of
from tests.support.website import Said, Website, website

FROM_URL = "/v1/knowledge/documents/from-url"
HANDBOOK = (
    b"<!doctype html><html><head><title>Lease &amp; hire</title></head>"
    b"<body><h1>Leases</h1><p>A quokka lease is short.</p></body></html>"
)


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    """A site of its own."""
    async with in_a_task(website({"/leases": Said(content=HANDBOOK, headers={"Content-Type": "text/html"})})) as said:
        yield said


@pytest.fixture
async def doors(database: Database, site: Website) -> AsyncIterator[Doors]:
    """The application, to which the site is open."""
    async with in_a_task(opened_doors(database, HubOptions(fetcher=site.fetcher()))) as opened:
        yield opened


async def test_a_page_becomes_a_document_that_is_found(doors: Doors, site: Website) -> None:
    client = await doors.client()

    taken = await client.post(f"{FROM_URL}?wait=true", json={"url": site.url("/leases#top")})

    document = taken.json()
    assert (taken.status_code, document["status"], document["title"]) == (201, "ready", "Lease & hire")
    assert (document["uri"], document["trust"], document["audience"]) == (site.url("/leases"), "external", "firm")
    assert taken.headers["location"] == f"/v1/knowledge/documents/{document['document_id']}"
    found = (await client.post("/v1/knowledge/search", json={"query": "quokka"})).json()["items"]
    assert [item["uri"] for item in found] == [site.url("/leases")]
    recorded = (await client.get(f"/v1/activity/{taken.headers['x-call-id']}")).json()
    assert (recorded["tool"], recorded["outcome"]) == ("document_from_url", "done")


async def test_what_is_not_fetched_is_refused_with_its_reason_and_recorded(doors: Doors, site: Website) -> None:
    client = await doors.client()
    site.pages["/robots.txt"] = Said(content=b"User-agent: *\nDisallow: /secret\n")
    site.pages["/image"] = Said(content=b"\x89PNG\r\n\x1a\n" + bytes(50))
    site.pages["/empty"] = Said()
    site.pages["/inside"] = Said(status=302, headers={"Location": site.url("/", host="inside.test")})

    for url, code in {
        site.url("/inside"): "page_unavailable",
        "http://site.test:22/": "url_refused",
        site.url("/secret"): "robots_refused",
        site.url("/nothing"): "page_unavailable",
        site.url("/image"): "unsupported_format",
        site.url("/empty"): "unreadable_document",
    }.items():
        status = 415 if code == "unsupported_format" else 422
        problem = problem_of(await client.post(FROM_URL, json={"url": url}), status, code)
        recorded = (await client.get(f"/v1/activity/{problem['call_id']}")).json()
        assert (recorded["outcome"], recorded["error_code"]) == ("invalid", code)
    problem_of(await client.post(FROM_URL, json={"url": "file:///etc/passwd"}), 422, "invalid_arguments")
    for_a_client = {"url": site.url("/leases"), "audience": "client"}
    problem_of(await client.post(FROM_URL, json=for_a_client), 422, "engagement_needed")
    assert (await client.get("/v1/knowledge/documents")).json()["items"] == []


async def test_pages_are_taken_in_by_the_firms_own_people(doors: Doors, site: Website) -> None:
    for who in ("readonly@acme", "client@acme"):
        answer = await (await doors.client(who)).post(FROM_URL, json={"url": site.url("/leases")})
        problem_of(answer, 403, "denied")
    assert site.asked == []


async def test_a_server_as_it_is_started_fetches_nothing_from_this_machine(database: Database, site: Website) -> None:
    async with in_a_task(opened_doors(database)) as doors:
        client = await doors.client()
        answer = await client.post(FROM_URL, json={"url": "http://127.0.0.1/leases"})
        problem_of(answer, 422, "address_refused")
        named = site.url("/leases", host="127.0.0.1")
        problem_of(await client.post(FROM_URL, json={"url": named}), 422, "url_refused")
        assert site.asked == []


async def test_no_agent_has_the_server_ask_strangers_since_an_address_can_carry_words_out(
    doors: Doors, site: Website
) -> None:
    agent = await doors.client("partner@acme", "service")
    problem_of(await agent.post(FROM_URL, json={"url": site.url("/leases?client=secret")}), 403, "denied")
    assert site.asked == []
