"""A fake Slack: its Web API and Socket Mode on loopback, its states and limits as Slack's own, its faults on demand.

It signs and delivers requests as Slack does. In a test: `async with FakeSlack() as slack:` and settings by
`slack.base_url`. What it holds people to is what its real counterpart documents; it was written from Slack's reference,
not recorded from it.
"""

import asyncio
import html
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import urlencode

import httpx
from aiohttp import WSMsgType, web
from pydantic import SecretStr

from server.slack.guard import signature

Json = dict[str, Any]

BOT_TOKEN, SIGNING_SECRET, APP_TOKEN = "xoxb-fake", "8f742231b10e8888abcd99yyyzzz85a5", "xapp-fake"
TEAM, BOT_USER, BOT_ID = "T0ACME", "U0GLOW", "B0GLOW"
CHANNEL, DIRECT = "C0GENERAL", "D0"
MARKDOWN_AT_ONCE, SECTION, BLOCKS = 12_000, 3_000, 50
ALL_BLOCKS, UPDATED_TEXT_BYTES = 12_000, 4_000
"""Not in Slack's reference: people met `msg_blocks_too_long` from some 12,000 to 13,200 characters on."""

Handler = Callable[[Json], Json]


class Refused(Exception):
    """Slack's `ok: false`."""


@dataclass(slots=True)
class Message:
    """One message of the hub's, as Slack has it."""

    ts: str
    channel: str
    thread_ts: str | None = None
    text: str = ""
    blocks: list[Json] = field(default_factory=list[Json])
    streaming: bool = False
    ephemeral_for: str | None = None
    appends: int = 0
    metadata: Json | None = None

    @property
    def body(self) -> str:
        """Its text: of a message with sections these, since then its `text` is for notifications only."""
        said = [text_of(block) for block in self.blocks if block["type"] == "section"]
        return html.unescape("".join(said) or self.text)

    @property
    def shown(self) -> str:
        """All that a reader sees of it."""
        below = [text_of(block) for block in self.blocks if block["type"] != "section"]
        return html.unescape("\n".join([self.body, *below]))

    def block(self, kind: str) -> Json:
        """Its one block of a kind."""
        (found,) = (each for each in self.blocks if each["type"] == kind)
        return found


def text_of(block: Json) -> str:
    """The words of a block."""
    if block["type"] == "section":
        return block["text"]["text"]
    if block["type"] == "rich_text":
        return "".join(piece["text"] for part in block["elements"] for piece in part["elements"])
    texts = [each.get("text") for each in block["elements"]]
    return "\n".join(text if isinstance(text, str) else "" for text in texts)


def user(user_id: str, email: str, **changes: Any) -> Json:
    """A full member of the workspace, with a confirmed address; with changes."""
    plain: Json = {
        "id": user_id,
        "team_id": TEAM,
        "deleted": False,
        "is_bot": False,
        "is_app_user": False,
        "is_restricted": False,
        "is_ultra_restricted": False,
        "is_admin": False,
        "is_owner": False,
        "is_email_confirmed": True,
        "profile": {"email": email},
    }
    return {**plain, **changes}


class FakeSlack:
    """One workspace. `calls`: what was called, with which arguments, in order."""

    def __init__(self) -> None:
        self.users: dict[str, Json] = {}
        self.messages: dict[str, Message] = {}
        self.views: list[Json] = []
        self.calls: list[tuple[str, Json]] = []
        self.triggers: set[str] = set()
        self.statuses: dict[tuple[str, str], str] = {}
        """What threads say is going on, by channel and thread."""
        self.away = False
        """Every request ends without an answer."""
        self.closes_at: set[int] = set()
        """The streaming calls (appends and stops, counted from 0) at which Slack has closed the stream."""
        self.faults: dict[str, list[tuple[int, Json, dict[str, str]]]] = defaultdict(list)
        """What the next calls of a method are answered with: status, body, headers."""
        self.after: dict[str, Callable[[], Awaitable[None]]] = {}
        """What happens once a method was answered."""
        self.socket: asyncio.Queue[Json] = asyncio.Queue()
        """What is to be delivered by Socket Mode."""
        self.acknowledged: asyncio.Queue[Json] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._streamed = itertools.count()
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self.base_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/socket", self._speak)
        app.router.add_route("*", "/api/{method}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/api/"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # What a test looks at ---------------------------------------------------------------------------------------------

    def posted(self, channel: str = CHANNEL, thread_ts: str | None = None) -> list[Message]:
        """The hub's messages in a channel or thread that everybody there sees, in order."""
        return [
            each
            for each in self.messages.values()
            if each.channel == channel and each.ephemeral_for is None and thread_ts in (None, each.thread_ts)
        ]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns once that is so; looked at after each request."""
        while not holds():
            self._answered.clear()
            await self._answered.wait()

    def whispered(self, user_id: str) -> list[Message]:
        """What only this user sees."""
        return [each for each in self.messages.values() if each.ephemeral_for == user_id]

    def made(self, method: str) -> list[Json]:
        """The arguments of every call of a method."""
        return [arguments for name, arguments in self.calls if name == method]

    # What Slack delivers ----------------------------------------------------------------------------------------------

    def ts(self) -> str:
        """A timestamp that no message has yet."""
        return f"1764330000.{next(self._numbers):06d}"

    def mention(self, user_id: str, text: str, *, channel: str = CHANNEL, thread_ts: str | None = None) -> Json:
        """Somebody mentions the hub in a channel."""
        ts = self.ts()
        event: Json = {"type": "app_mention", "user": user_id, "text": f"<@{BOT_USER}> {text}", "ts": ts}
        event |= {"channel": channel, "event_ts": ts, "team": TEAM}
        if thread_ts is not None:
            event["thread_ts"] = thread_ts
        return self.event(event)

    def direct(self, user_id: str, text: str, **changes: Any) -> Json:
        """Somebody writes to the hub alone."""
        ts = self.ts()
        event: Json = {"type": "message", "channel_type": "im", "user": user_id, "text": text, "ts": ts}
        event |= {"channel": f"{DIRECT}{user_id}", "event_ts": ts, "team": TEAM}
        return self.event(event | changes)

    def event(self, event: Json, **changes: Any) -> Json:
        """The envelope of an event."""
        number = next(self._numbers)
        envelope: Json = {
            "type": "event_callback",
            "token": "old",
            "team_id": TEAM,
            "api_app_id": "A0GLOW",
            "event": event,
            "event_id": f"Ev{number:08d}",
            "event_time": 1764330000,
            "is_ext_shared_channel": False,
            "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
        }
        return envelope | changes

    def press(self, message: Message, action_id: str, user_id: str, **changes: Any) -> Json:
        """Somebody presses a button under a message."""
        (button,) = (each for each in message.block("actions")["elements"] if each["action_id"] == action_id)
        trigger_id = f"{next(self._numbers)}.trigger"
        self.triggers.add(trigger_id)
        body: Json = {
            "type": "block_actions",
            "api_app_id": "A0GLOW",
            "team": {"id": TEAM},
            "user": {"id": user_id, "team_id": TEAM},
            "container": {"type": "message", "message_ts": message.ts, "channel_id": message.channel},
            "channel": {"id": message.channel},
            "message": {"ts": message.ts, "thread_ts": message.thread_ts},
            "trigger_id": trigger_id,
            "response_url": "https://hooks.slack.test/none",
            "actions": [{"type": "button", "action_id": action_id, "block_id": "decide", "value": button["value"]}],
        }
        return body | changes

    def send_form(self, view: Json, user_id: str, comment: str | None) -> Json:
        """Somebody sends the form that the hub opened."""
        state = {"values": {"comment": {"text": {"type": "plain_text_input", "value": comment}}}}
        return {
            "type": "view_submission",
            "team": {"id": TEAM},
            "user": {"id": user_id, "team_id": TEAM},
            "view": {**view, "state": state},
        }

    def command(self, user_id: str, text: str) -> Json:
        """The fields of a slash command."""
        trigger_id = f"{next(self._numbers)}.trigger"
        given = {"command": "/glow", "text": text, "user_id": user_id, "team_id": TEAM, "channel_id": CHANNEL}
        return {**given, "trigger_id": trigger_id, "response_url": "https://hooks.slack.test/none"}

    @staticmethod
    async def deliver(
        http: httpx.AsyncClient, body: Json, *, retry: int | None = None, sent_at: float | None = None
    ) -> httpx.Response:
        """Sign it and send it: events as JSON, interactions in a form's `payload`, commands as a form."""
        is_event = "event" in body or body.get("type") in ("url_verification", "app_rate_limited")
        if is_event:
            content, media_type = json.dumps(body).encode(), "application/json"
        else:
            fields = body if "command" in body else {"payload": json.dumps(body)}
            content, media_type = urlencode(fields).encode(), "application/x-www-form-urlencoded"
        headers = {} if retry is None else {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        return await send(http, content, media_type, headers=headers, sent_at=sent_at)

    # The Web API ------------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answered_with(request)
        finally:
            self._answered.set()

    async def _answered_with(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if self.away:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        arguments = await _arguments(request)
        if self.faults[method]:
            status, body, headers = self.faults[method].pop(0)
            return web.json_response(body, status=status, headers=headers)
        self.calls.append((method, arguments))
        known = request.headers.get("Authorization") in (f"Bearer {BOT_TOKEN}", f"Bearer {APP_TOKEN}")
        try:
            if not known:
                raise Refused("invalid_auth")
            said = self._handler(method)(arguments)
        except Refused as refused:
            return web.json_response({"ok": False, "error": str(refused)})
        if method in self.after:
            await self.after[method]()
        return web.json_response({"ok": True, **said})

    def _handler(self, method: str) -> Handler:
        handlers: dict[str, Handler] = {
            "auth.test": lambda _: {"team_id": TEAM, "team": "Acme", "user_id": BOT_USER, "bot_id": BOT_ID},
            "users.info": self._user_info,
            "users.lookupByEmail": self._user_by_email,
            "conversations.open": lambda given: {"channel": {"id": f"{DIRECT}{given['users']}"}},
            "conversations.history": self._history,
            "chat.postMessage": self._post,
            "chat.postEphemeral": self._whisper,
            "chat.update": self._update,
            "chat.startStream": self._start,
            "chat.appendStream": self._append,
            "chat.stopStream": self._stop,
            "views.open": self._open_view,
            "assistant.threads.setStatus": self._set_status,
            "apps.connections.open": lambda _: {
                "url": self.base_url.replace("http", "ws", 1).replace("api/", "socket")
            },
        }
        if method not in handlers:
            raise Refused("unknown_method")
        return handlers[method]

    def _user_info(self, given: Json) -> Json:
        found = self.users.get(given["user"])
        if found is None:
            raise Refused("user_not_found")
        return {"user": found}

    def _user_by_email(self, given: Json) -> Json:
        for found in self.users.values():
            if found["profile"]["email"] == given["email"]:
                return {"user": found}
        raise Refused("users_not_found")

    def _post(self, given: Json) -> Json:
        message = self._new(given)
        message.text, message.blocks = given.get("text", ""), _checked_blocks(given)
        message.metadata = given.get("metadata")
        if not message.text and not message.blocks:
            raise Refused("no_text")
        return {"ts": message.ts, "channel": message.channel}

    def _history(self, given: Json) -> Json:
        """Newest first; what messages carry only to whoever asks for it."""
        told = reversed(self.posted(given["channel"]))
        shown = [{"ts": each.ts, "text": each.text, "metadata": each.metadata} for each in told]
        if given.get("include_all_metadata") != "true":
            shown = [{name: value for name, value in each.items() if name != "metadata"} for each in shown]
        return {"messages": shown[: int(given.get("limit", 100))], "has_more": False}

    def _whisper(self, given: Json) -> Json:
        if given["channel"].startswith("D"):
            raise Refused("channel_not_found")
        message = self._new(given)
        message.text, message.blocks, message.ephemeral_for = (
            given.get("text", ""),
            _checked_blocks(given),
            given["user"],
        )
        return {"message_ts": message.ts}

    def _update(self, given: Json) -> Json:
        message = self._message(given)
        if message.streaming:
            raise Refused("streaming_state_conflict")
        if len(given.get("text", "").encode()) > UPDATED_TEXT_BYTES:
            raise Refused("msg_too_long")
        message.text, message.blocks = given.get("text", ""), _checked_blocks(given)
        return {"ts": message.ts, "channel": message.channel, "text": message.text}

    def _start(self, given: Json) -> Json:
        if not given.get("thread_ts"):
            raise Refused("invalid_thread_ts")
        if not given["channel"].startswith("D"):
            for name in ("recipient_user_id", "recipient_team_id"):
                if not given.get(name):
                    raise Refused(f"missing_{name}")
        message = self._new(given)
        message.streaming = True
        message.text = _markdown(given.get("markdown_text", ""))
        return {"ts": message.ts, "channel": message.channel}

    def _append(self, given: Json) -> Json:
        message = self._streaming(given)
        message.text += _markdown(given["markdown_text"])
        message.appends += 1
        return {"ts": message.ts, "channel": message.channel}

    def _stop(self, given: Json) -> Json:
        message = self._streaming(given)
        message.streaming = False
        message.text += _markdown(given.get("markdown_text", ""))
        message.blocks = _checked_blocks(given)
        return {"ts": message.ts, "channel": message.channel}

    def _open_view(self, given: Json) -> Json:
        if given["trigger_id"] not in self.triggers:
            raise Refused("expired_trigger_id")
        self.triggers.discard(given["trigger_id"])
        opened = {**given["view"], "id": f"V{next(self._numbers)}"}
        self.views.append(opened)
        return {"view": opened}

    def _set_status(self, given: Json) -> Json:
        if not given.get("thread_ts"):
            raise Refused("invalid_thread_ts")
        self.statuses[given["channel_id"], given["thread_ts"]] = given["status"]
        return {}

    def _streaming(self, given: Json) -> Message:
        message = self._message(given)
        if next(self._streamed) in self.closes_at:
            message.streaming = False
        if not message.streaming:
            raise Refused("message_not_in_streaming_state")
        return message

    def _message(self, given: Json) -> Message:
        found = self.messages.get(given["ts"])
        if found is None or found.channel != given["channel"]:
            raise Refused("message_not_found")
        return found

    def _new(self, given: Json) -> Message:
        if given["channel"] == "C0NOWHERE":
            raise Refused("channel_not_found")
        message = Message(ts=self.ts(), channel=given["channel"], thread_ts=given.get("thread_ts"))
        self.messages[message.ts] = message
        # Whatever the app says in a thread takes the thread's status away.
        self.statuses.pop((message.channel, message.thread_ts or ""), None)
        return message

    # Socket Mode ------------------------------------------------------------------------------------------------------

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1})
        sending = asyncio.create_task(self._send_all(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.acknowledged.put_nowait(json.loads(message.data))
        finally:
            sending.cancel()
        return socket

    async def _send_all(self, socket: web.WebSocketResponse) -> None:
        while True:
            body = await self.socket.get()
            kind = "events_api" if "event" in body else "interactive"
            envelope = {"envelope_id": f"e{next(self._numbers)}", "type": kind, "accepts_response_payload": False}
            await socket.send_json({**envelope, "payload": body})


async def send(
    http: httpx.AsyncClient,
    content: bytes,
    media_type: str = "application/json",
    *,
    headers: dict[str, str] | None = None,
    sent_at: float | None = None,
    secret: str = SIGNING_SECRET,
) -> httpx.Response:
    """Any bytes, signed as Slack signs them."""
    timestamp = str(int(time.time() if sent_at is None else sent_at))
    signed = {
        "Content-Type": media_type,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signature(SecretStr(secret), timestamp, content),
    }
    # As bytes: the client would refuse what a header may not hold, and a stranger would not.
    given = [(name.encode(), value.encode("latin-1")) for name, value in {**signed, **(headers or {})}.items()]
    return await http.post("/slack/events", content=content, headers=given)


async def _arguments(request: web.Request) -> Json:
    if request.content_type == "application/json":
        return cast(Json, await request.json())
    return {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}


def _markdown(text: str) -> str:
    if len(text) > MARKDOWN_AT_ONCE:
        raise Refused("msg_too_long")
    return text


def _checked_blocks(given: Json) -> list[Json]:
    blocks = cast("list[Json]", given.get("blocks") or [])
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    too_long = any(block["type"] == "section" and len(block["text"]["text"]) > SECTION for block in blocks)
    empty = any(block["type"] == "section" and not block["text"]["text"] for block in blocks)
    if len(blocks) > BLOCKS or len(set(ids)) < len(ids) or too_long or empty:
        raise Refused("invalid_blocks")
    if sum(len(text_of(block)) for block in blocks if block["type"] != "actions") > ALL_BLOCKS:
        raise Refused("msg_blocks_too_long")
    return blocks
