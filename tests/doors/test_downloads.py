"""A link hands out one file for five minutes, and only while whoever made it may have it."""

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from domain.kernel import utc_now
from server.database.connection import Connection
from server.hub import HubOptions
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors, problem_of

LETTER = b"<script>alert(1)</script> The engagement letter is renewed every year.\n"
DOWNLOADS = "/v1/downloads"


class LaterClock:
    """The real time, and some more of it."""

    def __init__(self) -> None:
        self.later = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.later


@pytest.fixture
def clock() -> LaterClock:
    return LaterClock()


@pytest.fixture
async def doors(database: Database, clock: LaterClock) -> AsyncIterator[Doors]:
    """The application, whose time can be put forward."""
    async with in_a_task(opened_doors(database, HubOptions(clock=clock))) as opened:
        yield opened


async def uploaded(client: httpx.AsyncClient, content: bytes = LETTER, **fields: str) -> str:
    answer = await client.post(
        "/v1/knowledge/documents", files={"files": ("Brief ä.html", content, "text/html")}, data=fields
    )
    return answer.json()["items"][0]["document_id"]


async def linked(client: httpx.AsyncClient, document_id: str) -> str:
    """The link's own part of the address."""
    answer = await client.post(f"/v1/knowledge/documents/{document_id}/link")
    assert answer.status_code == 200, answer.text
    address = urlsplit(str(answer.json()["url"]))
    assert (address.path, address.query.startswith("link=")) == (DOWNLOADS, True)
    return address.query.removeprefix("link=")


async def test_whoever_holds_the_link_gets_the_file_and_the_record_says_in_whose_name(
    doors: Doors, superuser_connection: Connection
) -> None:
    client, anybody = await doors.client(), await doors.stranger()
    document_id = await uploaded(client)
    made = await client.post(f"/v1/knowledge/documents/{document_id}/link")

    sent = await anybody.get(made.json()["url"])

    assert (sent.status_code, sent.content) == (200, LETTER)
    headers = sent.headers
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''Brief%20%C3%A4.html"
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "private, no-store")
    assert headers["content-type"] == "text/html"
    recorded = (await client.get(f"/v1/activity/{headers['x-call-id']}")).json()
    assert (recorded["tool"], recorded["outcome"], recorded["principal"]) == (
        "document_content",
        "done",
        "employee@acme.example",
    )
    assert recorded["arguments"]["by_link"] == made.headers["x-call-id"]
    assert recorded["result"]["content_sha256"] == hashlib.sha256(LETTER).hexdigest()
    link = urlsplit(str(made.json()["url"])).query.removeprefix("link=")
    payloads = "SELECT count(*) FROM activity_payloads WHERE strpos(concat(arguments, result), $1) > 0"
    assert await superuser_connection.fetchval(payloads, link.partition(".")[2]) == 0


async def test_a_link_holds_for_three_hundred_seconds(doors: Doors, clock: LaterClock) -> None:
    client, anybody = await doors.client(), await doors.stranger()
    link = await linked(client, await uploaded(client))

    clock.later = timedelta(seconds=298)
    assert (await anybody.get(DOWNLOADS, params={"link": link})).status_code == 200
    clock.later = timedelta(seconds=301)
    problem_of(await anybody.get(DOWNLOADS, params={"link": link}), 403, "link_expired")


async def test_a_link_that_was_changed_opens_nothing(doors: Doors) -> None:
    client, anybody = await doors.client(), await doors.stranger()
    link = await linked(client, await uploaded(client))
    other = await linked(client, await uploaded(client, b"Another."))
    payload, _, seal = link.partition(".")

    for changed in (
        f"{payload[:-1]}.{seal}",
        f"{payload}.{seal[:-1]}{'0' if seal[-1] != '0' else '1'}",
        f"{payload}.{other.partition('.')[2]}",
        f"{payload}.",
        f".{seal}",
        payload,
        "é.é",
        "x",
    ):
        problem_of(await anybody.get(DOWNLOADS, params={"link": changed}), 403, "link_invalid")
    problem_of(await anybody.get(DOWNLOADS), 422, "invalid_request")


async def test_a_link_to_what_was_deleted_opens_nothing(doors: Doors) -> None:
    client, anybody = await doors.client(), await doors.stranger()
    document_id = await uploaded(client)
    link = await linked(client, document_id)

    assert (await client.delete(f"/v1/knowledge/documents/{document_id}")).status_code == 204
    problem_of(await anybody.get(DOWNLOADS, params={"link": link}), 404, "document_not_found")
    assert (await client.post(f"/v1/knowledge/documents/{document_id}/restore")).status_code == 202
    assert (await anybody.get(DOWNLOADS, params={"link": link})).status_code == 200


async def test_a_link_outlives_no_membership_and_no_right(doors: Doors, owner_connection: Connection) -> None:
    employee, client, anybody = await doors.client(), await doors.client("client@acme"), await doors.stranger()
    engagement = await owner_connection.fetchval(
        "SELECT m.engagement_id::text FROM engagement_members m JOIN users u USING (user_id) "
        "WHERE u.email = 'client@acme.example'"
    )
    document_id = await uploaded(employee, audience="client", engagement_id=engagement)
    firms, clients = await linked(employee, document_id), await linked(client, document_id)
    for link in (firms, clients):
        assert (await anybody.get(DOWNLOADS, params={"link": link})).status_code == 200

    await owner_connection.execute(
        "DELETE FROM engagement_members WHERE user_id = (SELECT user_id FROM users WHERE email = 'client@acme.example')"
    )
    problem = problem_of(await anybody.get(DOWNLOADS, params={"link": clients}), 404, "document_not_found")
    assert problem["outcome"] == "invalid"
    await owner_connection.execute(
        "UPDATE memberships SET erased_at = now() "
        "WHERE user_id = (SELECT user_id FROM users WHERE email = 'employee@acme.example')"
    )
    problem_of(await anybody.get(DOWNLOADS, params={"link": firms}), 403, "denied")


async def test_nobody_makes_a_link_to_what_they_do_not_see(doors: Doors) -> None:
    document_id = await uploaded(await doors.client())
    for who in ("client@acme", "employee@borealis"):
        answer = await (await doors.client(who)).post(f"/v1/knowledge/documents/{document_id}/link")
        assert answer.status_code == 404, answer.text
    stranger = await doors.stranger()
    problem_of(await stranger.post(f"/v1/knowledge/documents/{document_id}/link"), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ("bytes=0-4", 206, (0, 4)),
        ("bytes=5-", 206, (5, len(LETTER) - 1)),
        ("bytes=-3", 206, (len(LETTER) - 3, len(LETTER) - 1)),
        ("bytes=0-999999", 206, (0, len(LETTER) - 1)),
        ("bytes=-999999", 206, (0, len(LETTER) - 1)),
        (f"bytes={len(LETTER)}-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-3", 200, None),
        ("bytes=0-1,3-4", 200, None),
        ("bytes=-", 200, None),
        ("lines=0-1", 200, None),
        ("bytes=٣-", 200, None),
    ],
)
async def test_a_part_of_a_file_is_handed_out(
    doors: Doors, asked: str, status: int, said: tuple[int, int] | None
) -> None:
    client, anybody = await doors.client(), await doors.stranger()
    link = await linked(client, await uploaded(client))

    sent = await anybody.get(DOWNLOADS, params={"link": link}, headers={b"Range": asked.encode()})

    if status == 416:
        problem_of(sent, 416, "range_not_satisfiable")
        assert sent.headers["content-range"] == f"bytes */{len(LETTER)}"
        return
    assert sent.status_code == status
    if said is not None:
        assert sent.content == LETTER[said[0] : said[1] + 1]
        assert sent.headers["content-range"] == f"bytes {said[0]}-{said[1]}/{len(LETTER)}"
    else:
        assert sent.content == LETTER


async def test_a_part_of_another_file_is_not_asked_for(doors: Doors) -> None:
    client, anybody = await doors.client(), await doors.stranger()
    link = await linked(client, await uploaded(client))
    etag = (await anybody.get(DOWNLOADS, params={"link": link})).headers["etag"]
    for if_range, status in ((etag, 206), ('"other"', 200)):
        headers = {"Range": "bytes=0-3", "If-Range": if_range}
        assert (await anybody.get(DOWNLOADS, params={"link": link}, headers=headers)).status_code == status


async def test_a_file_that_was_altered_where_it_is_stored_is_not_handed_out(
    doors: Doors, owner_connection: Connection
) -> None:
    client, anybody = await doors.client(), await doors.stranger()
    document_id = await uploaded(client)
    link = await linked(client, document_id)
    await owner_connection.execute(
        "UPDATE knowledge_files SET content = 'other' WHERE document_id = $1", UUID(document_id)
    )
    problem_of(await anybody.get(DOWNLOADS, params={"link": link}), 502, "content_differs")
