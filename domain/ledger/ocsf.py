"""The record for a SIEM: each sealed event as an API Activity of the Open Cybersecurity Schema Framework (OCSF) 1.8.0.

Whoever acted is told by id alone: what a SIEM keeps, an erasure here does not reach.
Source  https://schema.ocsf.io/1.8.0/classes/api_activity
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import orjson

from domain.ledger.model import SealedEvent, canonical

VERSION = "1.8.0"
CATEGORY, CATEGORY_NAME = 6, "Application Activity"
CLASS, CLASS_NAME = 6003, "API Activity"

Json = dict[str, object]

UNKNOWN, CREATE, READ, UPDATE, DELETE, OTHER = 0, 1, 2, 3, 4, 99
_ACTIVITIES = {UNKNOWN: "Unknown", CREATE: "Create", READ: "Read", UPDATE: "Update", DELETE: "Delete"}
_VERBS = {"create": CREATE, "upload": CREATE, "update": UPDATE, "set": UPDATE, "delete": DELETE, "forget": DELETE}
"""What a tool's last word says of its activity; any other that writes is of its own kind."""

_INFORMATIONAL, _LOW, _MEDIUM = (1, "Informational"), (2, "Low"), (3, "Medium")
_SUCCESS, _FAILURE, _OTHER_STATUS = 1, 2, 99
_REFUSED = frozenset({"denied", "invalid", "failed", "cancelled", "expired", "rejected"})

_PRODUCT: Json = {"name": "Prisma Glow agent hub", "vendor_name": "Prisma Glow"}
_UNMAPPED = (
    "approval_id",
    "arguments_digest",
    "attended",
    "conversation_id",
    "cost_micros",
    "duration_ms",
    "effect",
    "engagement_id",
    "error_reference",
    "level",
    "manifest_digest",
    "mode",
    "opens",
    "request_id",
    "result_digest",
    "run_id",
    "task_run_id",
    "trace_id",
)
"""What OCSF has no word for, under its own name."""


def ocsf_line(row: SealedEvent) -> bytes:
    """One row as a line of JSON; empty where the event is not in the record any more, which a verifier names."""
    if row.text is None:
        return b""
    event = cast(Json, orjson.loads(row.text))
    activity_id, activity = _activity(event)
    shown: Json = {
        "activity_id": activity_id,
        "activity_name": activity,
        "actor": _actor(event),
        "api": _api(event),
        "category_name": CATEGORY_NAME,
        "category_uid": CATEGORY,
        "class_name": CLASS_NAME,
        "class_uid": CLASS,
        "message": f"{event['tool']}: {event['outcome'] or event['decision'] or event['kind']}",
        "metadata": _metadata(event, row),
        # The door by which it came is all that is known of its origin: the hub keeps no addresses.
        "src_endpoint": {"svc_name": event["door"]},
        "time": _milliseconds(event["occurred_at"]),
        "type_name": f"{CLASS_NAME}: {activity}",
        "type_uid": CLASS * 100 + activity_id,
        "unmapped": {
            **{name: event[name] for name in _UNMAPPED if event[name] is not None},
            "leaf": row.leaf.hex(),
        },
        **_severity(event),
        **_status(event),
    }
    return canonical(shown) + b"\n"


def broken_off_line(at: datetime, why: str) -> bytes:
    """The last line of an export that could not be read to its end: a base event, which is none of the record's."""
    return (
        canonical(
            {
                "activity_id": UNKNOWN,
                "category_uid": 0,
                "class_uid": 0,
                "message": f"The export broke off: {why}",
                "metadata": {"product": _PRODUCT, "version": VERSION},
                "severity": _MEDIUM[1],
                "severity_id": _MEDIUM[0],
                "status": "Failure",
                "status_id": _FAILURE,
                "time": int(at.timestamp() * 1000),
                "type_uid": 0,
            }
        )
        + b"\n"
    )


def _activity(event: Mapping[str, object]) -> tuple[int, str]:
    effect, verb = event["effect"], cast(str, event["tool"]).rpartition("_")[2]
    if effect is None:
        # A name that no tool has.
        return UNKNOWN, _ACTIVITIES[UNKNOWN]
    if effect == "read":
        return READ, _ACTIVITIES[READ]
    known = _VERBS.get(verb)
    return (OTHER, verb.capitalize()) if known is None else (known, _ACTIVITIES[known])


def _actor(event: Mapping[str, object]) -> Json:
    is_person = event["principal_kind"] == "person"
    user: Json = {
        "uid": event["principal_id"],
        "type": "User" if is_person else "Service",
        "type_id": 1 if is_person else 4,
    }
    if event["role"] is not None:
        user["groups"] = [{"name": event["role"]}]
    actor: Json = {"user": user}
    if event["decision"] is not None:
        actor["authorizations"] = _authorizations(event)
    return actor


def _authorizations(event: Mapping[str, object]) -> list[Json]:
    """The verdict, once for each reason that it has."""
    version: Json = {} if event["policy_digest"] is None else {"version": event["policy_digest"]}
    reasons = cast("list[str]", event["reasons"])
    return [{"decision": event["decision"], "policy": {"name": reason, **version}} for reason in reasons] or [
        {"decision": event["decision"]}
    ]


def _api(event: Mapping[str, object]) -> Json:
    api: Json = {"operation": event["tool"], "request": {"uid": event["call_id"]}, "service": {"name": "glow"}}
    if event["error_code"] is not None:
        api["response"] = {"error": event["error_code"]}
    return api


def _metadata(event: Mapping[str, object], row: SealedEvent) -> Json:
    return {
        "correlation_uid": event["call_id"],
        "event_code": event["kind"],
        "log_name": "activity_events",
        "logged_time": _milliseconds(event["recorded_at"]),
        "original_time": event["occurred_at"],
        "product": _PRODUCT,
        "sequence": row.index,
        "tenant_uid": event["organization_id"],
        "uid": event["event_id"],
        "version": VERSION,
    }


def _severity(event: Mapping[str, object]) -> Json:
    """What cannot be undone is worth a look; so is what was refused."""
    identifier, name = _INFORMATIONAL
    if event["effect"] == "irreversible":
        identifier, name = _MEDIUM
    elif event["outcome"] in _REFUSED:
        identifier, name = _LOW
    return {"severity": name, "severity_id": identifier}


def _status(event: Mapping[str, object]) -> Json:
    outcome = event["outcome"]
    status: Json = {} if event["error_code"] is None else {"status_code": event["error_code"]}
    if outcome == "done":
        return {"status": "Success", "status_id": _SUCCESS, **status}
    if outcome in _REFUSED:
        return {"status": "Failure", "status_id": _FAILURE, "status_detail": outcome, **status}
    # It waits for a person, was only tried, or has only begun.
    return {"status": outcome or "allowed", "status_id": _OTHER_STATUS, **status}


def _milliseconds(moment: object) -> int:
    return int(datetime.fromisoformat(cast(str, moment)).astimezone(UTC).timestamp() * 1000)
