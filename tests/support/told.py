"""What a door told of its calls, read out of its own kind of answer."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import httpx
import orjson

from tests.support.parity import Told

Json = dict[str, Any]


def told_by(response: httpx.Response) -> Told:
    """What an answer of HTTP tells of its call: of a done one the body, of a refused one the problem."""
    is_json = "json" in response.headers.get("content-type", "")
    body = cast(Json, response.json() if is_json else {})
    call = response.headers.get("x-call-id", body.get("call_id"))
    verdict = body.get("verdict")
    return Told(
        call_id=None if call is None else UUID(call),
        outcome="done" if "x-call-id" in response.headers else body.get("outcome"),
        decision="untold" if "x-call-id" in response.headers else None if verdict is None else verdict["decision"],
    )


def told_of_envelope(envelope: Json) -> Told:
    """What the envelope of an answer tells of its call."""
    verdict = envelope.get("verdict")
    decision = None if verdict is None else verdict["decision"]
    return Told(call_id=UUID(envelope["call_id"]), outcome=envelope["outcome"], decision=decision)


def told_of_stream(stream: str) -> list[Told]:
    """The calls of a run that was shown as server-sent events."""
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    return told_of_events([cast(Json, orjson.loads(line)) for line in lines])


def told_of_events(events: Sequence[Json]) -> list[Told]:
    """The calls of a run, in the order in which they were made."""
    decided = {each["call_id"]: each["decision"] for each in events if each["type"] == "tool.decided"}
    # A call that waits is told as completed once it is settled.
    ended = {each["call_id"]: "waiting" for each in events if each["type"] == "approval.requested"}
    ended |= {each["call_id"]: each["outcome"] for each in events if each["type"] == "tool.completed"}
    called = [each["call_id"] for each in events if each["type"] == "tool.called"]
    return [Told(call_id=UUID(each), outcome=ended.get(each), decision=decided.get(each)) for each in called]
