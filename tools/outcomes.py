"""What goes into the gate and what comes out of it: the request, the verdict, and how the call ended."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from domain.idempotency.model import IdempotencyKey
from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    Decision,
    EngagementId,
    Level,
    Outcome,
    Role,
    RunId,
    TaskRunId,
)
from domain.taint import NOTHING, Taint

Json = dict[str, object]
Tell = Callable[[float, str], None]
"""Takes how far a call under way has come, from 0 to 1, and the words for it; it neither waits nor raises."""


def tell_nobody(_progress: float, _message: str) -> None:
    """Nobody wants to know."""


OUTCOME_UNKNOWN = "outcome_unknown"
"""The code of a call that was begun and of which nobody has said yet how it ended."""
SUBJECT_CHANGED = "subject_changed"
"""The code of an approved call that names something that is not any more what a person was asked about."""
NEVER_TO_BE_KNOWN = "outcome_never_known"
"""The code of one of which nobody can be asked any more how it ended."""
STATED_NOT_MADE = "stated_not_made"
"""The code of one of which a person has said that it was not made."""


def stays() -> bool:
    """Whoever asked for the call hears of it to its end."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """One tool call as a door asks for it; nothing in it is trusted but what the door itself established.

    `tool` and `arguments` may be the model's words: any name, any JSON value. The rest is the door's.
    """

    call_id: CallId
    tool: str
    arguments: object
    dry_run: bool = False
    conversation_id: ConversationId | None = None
    run_id: RunId | None = None
    task_run_id: TaskRunId | None = None
    engagement_id: EngagementId | None = None
    agent: str | None = None
    """The persona that chose the call; None where no agent did."""
    agent_ceiling: Level = Level.L3
    """The lowest ceiling of autonomy of the personas behind the call."""
    idempotency: IdempotencyKey | None = None
    """Under which the call is made once, however often it is asked for."""
    timeout: timedelta | None = None
    """How long its work may take, where that is less than the tool's own time."""
    request_id: str | None = None
    trace_id: str | None = None
    tell: Tell = field(default=tell_nobody, repr=False, compare=False)
    """Hears how far the call has come while it is under way; the same is never told twice in a row."""
    left: Callable[[], bool] = field(default=stays, repr=False, compare=False)
    """Whether another process goes on with what asked for the call: it makes it under this id, unless it was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsApproval:
    """A person must agree: one of `needs_role` or above, and not the requester where `four_eyes`."""

    reasons: tuple[str, ...]
    needs_role: Role
    four_eyes: bool


Verdict = Allow | Deny | NeedsApproval


def decision_of(verdict: Verdict) -> Decision:
    """The verdict's word in the contract: allow, deny or needs_approval."""
    match verdict:
        case Allow():
            return "allow"
        case Deny():
            return "deny"
        case NeedsApproval():
            return "needs_approval"
        case _:
            assert_never(verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallError:
    """Why a call did not end well, in words that may be shown to anyone who may see the call.

    Codes of the gate: unknown_tool, invalid_arguments, denied, timeout, cancelled, internal (with a `reference` that
    stands in the log), result_too_large, result_invalid, unavailable, idempotency_mismatch,
    idempotency_in_progress; else the `code` of a DomainError.
    """

    code: str
    message: str
    reference: str | None = None
    details: tuple[Mapping[str, object], ...] = ()
    """For invalid arguments: one `{"path", "message"}` per fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """The durable question that a waiting call left."""

    approval_id: ApprovalId
    needs_role: Role
    four_eyes: bool
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """How a call ended; `verdict` is None only where none was reached (unknown tool, arguments that do not parse)."""

    call_id: CallId
    tool: str
    outcome: Outcome
    verdict: Verdict | None = None
    result: Json | None = None
    error: CallError | None = None
    approval: ApprovalAsked | None = None
    duration_ms: float = 0.0
    taint: Taint = NOTHING
    """What its result told."""
    replayed: bool = False
    """Made before, under the same idempotency key: this is how it ended then."""


class CutOff(asyncio.CancelledError):
    """The caller was cancelled while its call was under way; `ended` is what became of the call all the same.

    That may be `done`: what was committed before the cancellation came stands, and is never told as cancelled.
    """

    def __init__(self, ended: CallOutcome) -> None:
        super().__init__(ended.outcome)
        self.ended = ended


def error_json(error: CallError) -> Json:
    """The error as every door shows it."""
    shown: Json = {"code": error.code, "message": error.message}
    if error.reference is not None:
        shown["reference"] = error.reference
    if error.details:
        shown["details"] = [dict(detail) for detail in error.details]
    return shown


def verdict_json(verdict: Verdict) -> Json:
    """The verdict as the contract words it: `{"decision", "reasons"}`."""
    return {"decision": decision_of(verdict), "reasons": list(verdict.reasons)}


def envelope(outcome: CallOutcome, *, approval_url: str | None = None) -> Json:
    """The outcome as models and MCP clients receive it: `{"outcome", "call_id", "result"?, "verdict"?, ...}`.

    Source  contract.md, Tools. `approval_url` is a plain link where a person decides, never pre-authenticated.
    """
    body: Json = {"outcome": outcome.outcome, "call_id": str(outcome.call_id)}
    if outcome.result is not None:
        body["result"] = outcome.result
    if outcome.verdict is not None:
        body["verdict"] = verdict_json(outcome.verdict)
    if outcome.approval is not None:
        body["approval"] = approval_json(outcome.approval, approval_url)
    if outcome.error is not None:
        body["error"] = error_json(outcome.error)
    return body


def approval_json(approval: ApprovalAsked, url: str | None) -> Json:
    """The pending question as an envelope shows it."""
    shown: Json = {
        "id": str(approval.approval_id),
        "needs_role": str(approval.needs_role),
        "four_eyes": approval.four_eyes,
        "expires_at": approval.expires_at.isoformat(),
    }
    if url is not None:
        shown["url"] = url
    return shown


def reference_of(value: UUID) -> str:
    """A short reference by which a log line is found; it says nothing of what went wrong."""
    return value.hex[:12]
