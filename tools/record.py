"""Writes down what the gate saw: builds the activity events of one call, steps 6 and 8 of its path."""

import json
from dataclasses import dataclass, field
from secrets import token_bytes

import orjson

from domain.activity.model import SALT_BYTES, ActivityEvent, EventKind, Payload
from domain.kernel import ApprovalId, Clock, EngagementId, EventId, NewId, Outcome, Principal, Role
from domain.taint import NOTHING, Taint
from tools.facts import Facts
from tools.manifest import Manifest
from tools.outcomes import CallError, CallOutcome, CallRequest, Verdict, decision_of
from tools.policy import Situation
from tools.spending import PriceOf, Spending

PAYLOAD_LIMIT = 16_384
"""Characters of an unreadable call's arguments that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict with what it rests on."""

    facts: Facts
    situation: Situation
    verdict: Verdict
    policy_digest: bytes
    """Of the policies that reached it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A call as the record keeps it: who asked for what, as it came in."""

    request: CallRequest
    principal: Principal
    manifest: Manifest | None
    arguments: str
    """Canonical JSON; of an unreadable call, what could be kept of it."""
    approval_id: ApprovalId | None = None
    spending: Spending = field(default_factory=Spending)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scribe:
    """Makes events out of calls; it stores nothing."""

    clock: Clock
    new_id: NewId
    policy_digest: bytes
    """Of the policies that hold for every organization; what no verdict was reached on is recorded under them."""
    price_of: PriceOf

    def event(
        self,
        kind: EventKind,
        call: Recorded,
        *,
        opens: bool,
        judged: Judged | None = None,
        role: Role | None = None,
        outcome: Outcome | None = None,
        error: CallError | None = None,
        result: str | None = None,
        duration_ms: float | None = None,
        taint: Taint = NOTHING,
    ) -> ActivityEvent:
        """One event. An outcome after a ticket carries the result; every other event the arguments as well."""
        manifest = call.manifest
        verdict = None if judged is None else judged.verdict
        follows_ticket = not opens and kind in ("tool.completed", "tool.failed", "tool.cancelled")
        return ActivityEvent(
            organization_id=call.principal.organization_id,
            event_id=EventId(self.new_id()),
            kind=kind,
            opens=opens,
            occurred_at=self.clock(),
            call_id=call.request.call_id,
            tool=storable(call.request.tool)[:200],
            effect=None if manifest is None else manifest.effect,
            writes=() if manifest is None else manifest.writes,
            door=call.principal.door,
            principal_id=call.principal.principal_id,
            principal_kind=call.principal.kind,
            role=judged.facts.role if judged is not None else role,
            mode=call.principal.mode,
            attended=call.principal.attended,
            level=None if judged is None else judged.situation.level,
            engagement_id=_engagement(call, judged),
            facts="{}" if judged is None else judged.situation.canonical_json(),
            decision=None if verdict is None else decision_of(verdict),
            reasons=() if verdict is None else verdict.reasons,
            approval_id=call.approval_id,
            manifest_digest=None if manifest is None else manifest.digest,
            policy_digest=self.policy_digest if judged is None else judged.policy_digest,
            outcome=outcome,
            error_code=None if error is None else error.code,
            error_reference=None if error is None else error.reference,
            duration_ms=duration_ms,
            # A ticket's call has not ended: what it costs is told by how it ends.
            cost_micros=None if kind == "tool.allowed" else call.spending.cost_micros(self.price_of),
            conversation_id=call.request.conversation_id,
            run_id=call.request.run_id,
            task_run_id=call.request.task_run_id,
            request_id=call.request.request_id,
            trace_id=call.request.trace_id,
            payload=_payload(None if follows_ticket else call.arguments, result),
            taint=taint,
        )

    def completed(self, call: Recorded, judged: Judged, ended: CallOutcome, *, opens: bool) -> ActivityEvent:
        """The event of a call that is done, with its result."""
        return self.event(
            "tool.completed",
            call,
            opens=opens,
            judged=judged,
            outcome="done",
            result=None if ended.result is None else canonical(ended.result),
            duration_ms=ended.duration_ms,
            taint=ended.taint,
        )


def canonical(value: object) -> str:
    """Canonical JSON text of a value that a schema has passed: sorted keys, no spaces."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def kept_of(value: object) -> str:
    """What can be kept of arguments that no schema has passed: JSON text that the database stores, never an error."""
    try:
        text = canonical(value)
    except TypeError:  # orjson: a lone surrogate, an integer beyond 64 bits, a depth beyond its own
        text = _lenient(value)
    return storable(text)[:PAYLOAD_LIMIT]


def _lenient(value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=lambda other: type(other).__name__)
    except (ValueError, TypeError, RecursionError):
        return '"unreadable"'


def storable(text: str) -> str:
    """The text as PostgreSQL takes it: no NUL, no lone surrogate."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


def _payload(arguments: str | None, result: str | None) -> Payload | None:
    if arguments is None and result is None:
        return None
    return Payload(salt=token_bytes(SALT_BYTES), arguments=arguments, result=result)


def _engagement(call: Recorded, judged: Judged | None) -> EngagementId | None:
    """What the arguments name comes before the conversation: one may ask in one engagement about another."""
    named = None if judged is None else judged.facts.engagement_id
    return call.request.engagement_id if named is None else named
