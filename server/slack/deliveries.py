"""What Slack delivers, parsed once into the few things that this door knows."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast
from uuid import UUID

import orjson

from domain.kernel import ApprovalId, PrincipalId, RunId

Json = dict[str, object]

APPROVE, REJECT, REJECTION = "glow_approve", "glow_reject", "glow_rejection"
"""The ids of the buttons, and of the form that asks why."""
COMMENT_BLOCK, COMMENT = "comment", "text"
GOES_ON, TO_DECIDER = "glow_goes_on", "glow_to_decider"
"""The types of our own notes; nothing of these types passes `envelope_of`, so that nobody outside can leave one."""
LONGEST_ID = 200
"""Of an event, as it is kept."""


class Unknown(Exception):
    """Nothing that Slack sends to an app like this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message to the hub: a mention in a channel, or anything in a direct message."""

    user_id: str
    user_team: str
    """The workspace of whoever wrote it; in a shared channel another than the hub's."""
    channel_id: str
    ts: str
    thread_ts: str
    text: str
    direct: bool
    shared: bool
    """Whether people of another company read along, or nobody can say that they do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanded:
    """A slash command: answered in the direct messages of whoever typed it."""

    user_id: str
    user_team: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Somebody has opened a thread with the assistant."""

    channel_id: str
    thread_ts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A button under a question."""

    user_id: str
    user_team: str
    approval_id: ApprovalId
    answer: Literal["approve", "reject"]
    channel_id: str
    message_ts: str
    thread_ts: str
    trigger_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The form that asks why, sent."""

    user_id: str
    user_team: str
    approval_id: ApprovalId
    channel_id: str
    message_ts: str
    thread_ts: str
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneOn:
    """Our own note, which Slack never sends: a run that waits, whose answer goes on in its thread."""

    run_id: RunId
    after: int
    """Up to there it is told."""
    approvals: tuple[ApprovalId, ...]
    """What it waits for."""
    tools: Mapping[str, str]
    """Of the calls that wait, by their ids."""
    user_id: str
    user_team: str
    channel_id: str
    thread_ts: str

    def body(self) -> Json:
        """As it is kept, among what Slack delivers."""
        return {"type": GOES_ON, **{name: getattr(self, name) for name in self.__slots__}}


Occasion = Literal["asked", "reminded"]
"""On which somebody who may decide a question is written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDecider:
    """Our own note too: somebody who may decide a question is to be written to."""

    approval_id: ApprovalId
    principal_id: PrincipalId
    occasion: Occasion

    def body(self) -> Json:
        """As it is kept, among what Slack delivers."""
        return {"type": TO_DECIDER, **{name: getattr(self, name) for name in self.__slots__}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Nothing to answer: a bot's words, an edit, a leave."""


Delivery = Said | Commanded | Opened | Pressed | Rejected | GoneOn | ToDecider | Ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Where a delivery comes from, and what it is known by when it comes again."""

    team_id: str
    event_id: str


def form_object(fields: Mapping[str, str], decode: Callable[[bytes], object]) -> object:
    """The object that a form stands for: the JSON in its `payload`, or the fields themselves."""
    payload = fields.get("payload")
    return dict(fields) if payload is None else decode(payload.encode("utf-8", "surrogatepass"))


def envelope_of(body: Json) -> Envelope:
    """Whose it is, and its id.

    Raises  Unknown.
    """
    if body.get("type") == "event_callback":
        return Envelope(team_id=_text(body, "team_id"), event_id=_event_id(body))
    if "command" in body:
        return Envelope(team_id=_text(body, "team_id"), event_id=_digest(_text(body, "trigger_id")))
    if body.get("type") in ("block_actions", "view_submission"):
        return Envelope(team_id=_installed_team(body), event_id=_digest(_interaction(body)))
    raise Unknown


def delivery_of(body: Json, bot_user_id: str) -> Delivery:
    """What was delivered.

    Raises  Unknown: a member that Slack always sends is missing, or is of another kind.
    """
    if "command" in body:
        _text(body, "command")
        return Commanded(user_id=_text(body, "user_id"), user_team=_text(body, "team_id"), text=_text(body, "text"))
    match body.get("type"):
        case "event_callback":
            return _event(body, _object(body, "event"), bot_user_id)
        case "block_actions":
            return _pressed(body)
        case "view_submission":
            return _rejected(body)
        case _ if body.get("type") == GOES_ON:
            return _gone_on(body)
        case _ if body.get("type") == TO_DECIDER:
            return _to_decider(body)
        case _:
            raise Unknown


def _to_decider(body: Json) -> ToDecider:
    return ToDecider(
        approval_id=_approval_id(body.get("approval_id")),
        principal_id=PrincipalId(UUID(_text(body, "principal_id"))),
        occasion="reminded" if body.get("occasion") == "reminded" else "asked",
    )


def _gone_on(body: Json) -> GoneOn:
    return GoneOn(
        run_id=RunId(UUID(_text(body, "run_id"))),
        after=int(str(body["after"])),
        approvals=tuple(ApprovalId(UUID(each)) for each in cast("list[str]", body["approvals"])),
        tools=cast("dict[str, str]", body["tools"]),
        user_id=_text(body, "user_id"),
        user_team=_text(body, "user_team"),
        channel_id=_text(body, "channel_id"),
        thread_ts=_text(body, "thread_ts"),
    )


def _event(body: Json, event: Json, bot_user_id: str) -> Delivery:
    match event.get("type"):
        case "app_mention":
            return _said(body, event, bot_user_id, direct=False)
        case "message" if event.get("channel_type") == "im":
            return _said(body, event, bot_user_id, direct=True)
        case "assistant_thread_started":
            thread = _object(event, "assistant_thread")
            return Opened(channel_id=_text(thread, "channel_id"), thread_ts=_text(thread, "thread_ts"))
        case _:
            return Ignored()


def _said(body: Json, event: Json, bot_user_id: str, *, direct: bool) -> Delivery:
    # Edits, joins, other apps and ourselves; `file_share` is a message with a file, whose words are taken.
    by_nobody = "bot_id" in event or event.get("subtype") not in (None, "file_share") or event.get("hidden") is True
    if by_nobody or event.get("user") in (None, bot_user_id, "USLACKBOT"):
        return Ignored()
    ts = _text(event, "ts")
    return Said(
        user_id=_text(event, "user"),
        user_team=_team_of(event, body),
        channel_id=_text(event, "channel"),
        ts=ts,
        thread_ts=str(event.get("thread_ts") or ts),
        text=_text(event, "text"),
        direct=direct,
        shared=body.get("is_ext_shared_channel") is not False,
    )


def _team_of(event: Json, body: Json) -> str:
    """The writer's own workspace: of a message in a shared channel Slack says it apart."""
    return str(event.get("user_team") or event.get("team") or _text(body, "team_id"))


def _pressed(body: Json) -> Delivery:
    actions = body.get("actions")
    if not isinstance(actions, list) or not actions:
        raise Unknown
    action = _as_object(cast("list[object]", actions)[0])
    answer = {APPROVE: "approve", REJECT: "reject"}.get(str(action.get("action_id")))
    if answer is None:
        return Ignored()
    container, user = _object(body, "container"), _object(body, "user")
    message = _as_object(body.get("message") or {})
    message_ts = _text(container, "message_ts")
    return Pressed(
        user_id=_text(user, "id"),
        user_team=str(user.get("team_id") or _installed_team(body)),
        approval_id=_approval_id(action.get("value")),
        answer=cast(Literal["approve", "reject"], answer),
        channel_id=_text(container, "channel_id"),
        message_ts=message_ts,
        thread_ts=str(message.get("thread_ts") or message_ts),
        trigger_id=_text(body, "trigger_id"),
    )


def _rejected(body: Json) -> Delivery:
    view, user = _object(body, "view"), _object(body, "user")
    if view.get("callback_id") != REJECTION:
        return Ignored()
    try:
        about = _as_object(orjson.loads(_text(view, "private_metadata")))
    except orjson.JSONDecodeError as error:
        raise Unknown from error
    return Rejected(
        user_id=_text(user, "id"),
        user_team=str(user.get("team_id") or _installed_team(body)),
        approval_id=_approval_id(about.get("approval_id")),
        channel_id=_text(about, "channel_id"),
        message_ts=_text(about, "message_ts"),
        thread_ts=_text(about, "thread_ts"),
        comment=_comment(view),
    )


def _comment(view: Json) -> str | None:
    values = _as_object(_as_object(view.get("state") or {}).get("values") or {})
    given = _as_object(_as_object(values.get(COMMENT_BLOCK) or {}).get(COMMENT) or {}).get("value")
    return given.strip() or None if isinstance(given, str) else None


def _approval_id(value: object) -> ApprovalId:
    try:
        return ApprovalId(UUID(str(value)))
    except ValueError as error:
        raise Unknown from error


def _installed_team(body: Json) -> str:
    return _text(_object(body, "team"), "id")


def _event_id(body: Json) -> str:
    event_id = _text(body, "event_id")
    if len(event_id) > LONGEST_ID:
        raise Unknown
    return event_id


def _interaction(body: Json) -> str:
    """What tells one press or sending from another: of a press its trigger, of a form the view that was sent."""
    if body.get("type") == "block_actions":
        return "press " + _text(body, "trigger_id")
    return "view " + _text(_object(body, "view"), "id")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _object(body: Json, name: str) -> Json:
    return _as_object(body.get(name))


def _as_object(value: object) -> Json:
    if not isinstance(value, dict):
        raise Unknown
    return cast(Json, value)


def _text(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or (not value and name != "text"):
        raise Unknown
    return value
