"""What comes to /slack/events: only what Slack signed, freshly and whole, is worked on, and nothing gets a 500."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from server.database.connection import Connection
from server.slack.guard import signature
from tests.doors.test_odd_bodies import ODD, refused
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, problem_of
from tests.support.fake_slack import APP_TOKEN, SIGNING_SECRET, TEAM, FakeSlack, send
from tests.support.slack_world import SlackWorld, slack_id, slack_world

Json = dict[str, Any]

EVA = slack_id("employee@acme")
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def world(database: Database) -> AsyncIterator[SlackWorld]:
    async with in_a_task(slack_world(database)) as opened:
        yield opened


async def nothing_was_kept(connection: Connection) -> bool:
    return await connection.fetchval("SELECT count(*) FROM slack_events") == 0


async def test_a_server_without_slack_has_no_such_route(doors: Doors) -> None:
    answer = await send(await doors.stranger(), b'{"type": "url_verification", "challenge": "x"}')

    problem_of(answer, 404, "not_found")


async def test_slack_is_told_its_challenge(world: SlackWorld) -> None:
    answer = await world.deliver({"type": "url_verification", "challenge": "3eZbrw1aB"})

    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1aB"})


async def test_a_challenge_is_not_told_to_whoever_does_not_sign(world: SlackWorld) -> None:
    answer = await world.http.post("/slack/events", json={"type": "url_verification", "challenge": "3eZbrw1aB"})

    problem_of(answer, 401, "invalid_signature")


TIMESTAMPS = ["", "now", "1e9", "-1", "1764330000.5", "٣", "²", "9" * 40, "0x10", " 1", "NaN", "inf"]


@pytest.mark.parametrize("timestamp", TIMESTAMPS)
async def test_a_timestamp_that_is_no_number_is_refused_though_it_is_signed(world: SlackWorld, timestamp: str) -> None:
    body = json.dumps(world.slack.mention(EVA, "hello")).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"x-slack-request-timestamp", timestamp.encode()),
        (b"x-slack-signature", signature(SecretStr(SIGNING_SECRET), timestamp, body).encode()),
    ]

    answer = await world.http.post("/slack/events", content=body, headers=headers)

    problem_of(answer, 401, "invalid_signature")


@pytest.mark.parametrize("seconds", [-301, 330, -86_400])
async def test_a_replayed_or_postdated_request_is_refused(
    world: SlackWorld, superuser_connection: Connection, seconds: int
) -> None:
    answer = await world.deliver(world.slack.mention(EVA, "hello"), sent_at=time.time() + seconds)

    problem_of(answer, 401, "invalid_signature")
    assert await nothing_was_kept(superuser_connection)


async def test_a_request_by_another_secret_is_refused(world: SlackWorld, superuser_connection: Connection) -> None:
    body = json.dumps(world.slack.mention(EVA, "hello")).encode()

    problem_of(await send(world.http, body, secret="another"), 401, "invalid_signature")

    for signed in ("", "v0=", "v0=é", "v1=" + "0" * 64, "v0=" + "0" * 64):
        answer = await send(world.http, body, headers={"X-Slack-Signature": signed})
        problem_of(answer, 401, "invalid_signature")
    assert await nothing_was_kept(superuser_connection)


async def test_a_body_that_was_changed_on_its_way_is_refused(world: SlackWorld) -> None:
    body = json.dumps(world.slack.mention(EVA, "hello")).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signature(SecretStr(SIGNING_SECRET), timestamp, body),
    }

    answer = await world.http.post("/slack/events", content=body.replace(b"hello", b"hallo"), headers=headers)

    problem_of(answer, 401, "invalid_signature")


@pytest.mark.parametrize("name", ODD)
async def test_odd_bodies_are_refused_signed_or_not_as_json_and_as_a_form(world: SlackWorld, name: str) -> None:
    body = ODD[name]
    for media_type, content in (
        ("application/json", body),
        (FORM, body),
        (FORM, b"payload=" + urlencode({"": body}).encode()[1:]),
        (FORM, b"command=/glow&team_id=T0ACME&trigger_id=1&user_id=U1&text=%FF" + body[:100]),
    ):
        signed = await send(world.http, content, media_type)
        unsigned = await world.http.post("/slack/events", content=content, headers={"Content-Type": media_type})
        assert refused(signed), (name, media_type, signed.status_code, signed.text[:300])
        assert refused(unsigned), (name, media_type, unsigned.status_code, unsigned.text[:300])


async def test_other_media_types_and_methods_are_refused(world: SlackWorld) -> None:
    body = json.dumps(world.slack.mention(EVA, "hello")).encode()
    for media_type in ("text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "", "é"):
        answer = await send(world.http, body, headers={"Content-Type": media_type})
        assert answer.status_code == 415, (media_type, answer.text)
    problem_of(await world.http.get("/slack/events"), 405, "method_not_allowed")


WHOLE: Json = {
    "type": "event_callback",
    "team_id": TEAM,
    "event_id": "Ev1",
    "event": {"type": "app_mention", "user": EVA, "text": "hello", "ts": "1.1", "channel": "C1", "team": TEAM},
}
PRESS: Json = {
    "type": "block_actions",
    "team": {"id": TEAM},
    "user": {"id": EVA},
    "container": {"message_ts": "1.1", "channel_id": "C1"},
    "trigger_id": "1",
    "actions": [{"action_id": "glow_approve", "value": "6f2b3c51-5f0e-4c0e-9d53-5b8f6f0c3a77"}],
}
ABOUT = {"approval_id": PRESS["actions"][0]["value"], "channel_id": "C1", "message_ts": "1.1", "thread_ts": "1.1"}
VIEW: Json = {
    "type": "view_submission",
    "team": {"id": TEAM},
    "user": {"id": EVA},
    "view": {"id": "V1", "callback_id": "glow_rejection", "private_metadata": json.dumps(ABOUT)},
}
ODD_MEMBERS: tuple[Any, ...] = (None, 1, 1.5, [], {}, "", [[]], [1], [None], {"a": 1}, {"id": 1}, True, "E" * 201)
READ_BY_BOLT: tuple[str, ...] = (
    *("authorizations", "bot_access_token", "channel", "channel_id", "enterprise", "enterprise_id", "event_context"),
    *("function_data", "is_enterprise_install", "is_ext_shared_channel", "item", "message", "previous_message"),
    *("response_url", "response_urls", "team", "team_id", "thread_ts", "user", "user_id", "view", "workflow"),
)
"""Members that this door leaves alone, and the library in it does not."""


@pytest.mark.parametrize(
    "body",
    [WHOLE, WHOLE["event"], PRESS, VIEW, {"type": "reaction_added", "user": EVA}],
    ids=["envelope", "event", "press", "view", "ignored"],
)
async def test_a_signed_body_with_any_member_of_another_kind_is_never_a_fault(world: SlackWorld, body: Json) -> None:
    for name in dict.fromkeys((*body, *READ_BY_BOLT)):
        for odd in ODD_MEMBERS if name in body else (1, [1], {"a": 1}):
            changed = {**body, name: odd}
            whole = changed if body in (WHOLE, PRESS, VIEW) else {**WHOLE, "event": changed}
            content = json.dumps(whole).encode()
            for media_type, sent in (
                ("application/json", content),
                (FORM, urlencode({"payload": content.decode()}).encode()),
            ):
                answer = await send(world.http, sent, media_type)
                assert answer.status_code < 500, (name, odd, answer.text)
    await world.door.inbox.idle()


async def test_a_workspace_that_is_nobodys_is_refused_for_good(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    body = world.slack.mention(EVA, "hello") | {"team_id": "T0NOBODY"}

    answer = await world.deliver(body)

    problem_of(answer, 403, "workspace_not_connected")
    assert answer.headers["x-slack-no-retry"] == "1"
    assert await nothing_was_kept(superuser_connection)


async def test_what_cannot_be_kept_is_not_acknowledged(world: SlackWorld, superuser_connection: Connection) -> None:
    body = world.slack.mention(EVA, "hello")
    await superuser_connection.execute("REVOKE INSERT ON slack_events FROM glow_app")
    answer = await world.deliver(body)
    assert answer.status_code == 503, answer.text
    assert "retry-after" in answer.headers

    await superuser_connection.execute("GRANT INSERT ON slack_events TO glow_app")
    assert (await world.deliver(body, retry=1)).status_code == 200
    assert len(world.slack.posted()) == 1


async def test_slack_is_acknowledged_before_it_is_asked_anything(world: SlackWorld) -> None:
    world.slack.away = True

    answer = await world.slack.deliver(world.http, world.slack.mention(EVA, "hello"))

    assert answer.status_code == 200


async def test_socket_mode_keeps_answers_and_acknowledges(database: Database) -> None:
    settings: Json = {"slack_app_token": SecretStr(APP_TOKEN), "slack_signing_secret": None}
    async with FakeSlack() as slack, slack_world(database, fake=slack, **settings) as world:
        body = slack.mention(EVA, "what may you do on your own?")
        slack.socket.put_nowait(body)
        acknowledged = await slack.acknowledged.get()
        assert acknowledged["envelope_id"]
        await world.door.inbox.idle()

        (answer,) = slack.posted()
        assert "The level in force is L2" in answer.shown
        over_http = await slack.deliver(world.http, slack.mention(EVA, "hello"))
        problem_of(over_http, 404, "not_found")


def test_a_signature_is_slacks_own_example() -> None:
    """Source  Slack, Verifying requests from Slack."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url="
        b"https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
        b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    expected = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert signature(SecretStr("8f742231b10e8888abcd99yyyzzz85a5"), "1531420618", body) == expected
