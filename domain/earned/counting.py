"""What events say of the agent's calls, and what that comes to: pure, the same for the database's rows and a file's."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

import orjson

from domain.earned.bounds import wilson_lower
from domain.earned.model import (
    UPKEEP,
    CountedCall,
    CountingRules,
    EarnedRules,
    Ended,
    Finding,
    Incident,
    Mark,
    NewestCall,
    Tally,
    Undoing,
    earning_of,
)
from domain.kernel import CallId, Effect, PrincipalId

MADE: dict[str, tuple[str, ...]] = {
    "task_create": ("task", "task_id"),
    "task_run": ("task_run", "task_run_id"),
    "document_upload": ("document", "document_id"),
    "document_from_url": ("document", "document_id"),
    "document_restore": ("document", "document_id"),
    "document_delete": ("document_id",),
}
"""Where the result of a call says what it made, or did something to."""
UNDOES: dict[str, tuple[frozenset[str], str]] = {
    "task_update": (frozenset({"task_create"}), "task_id"),
    "task_run_cancel": (frozenset({"task_run"}), "task_run_id"),
    "document_delete": (frozenset({"document_upload", "document_from_url", "document_restore"}), "document_id"),
    "document_restore": (frozenset({"document_delete"}), "document_id"),
}
"""By which tool a person undoes what which did, and the argument that names it; an update undoes where it cancels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSeen:
    """An event of the ledger, as far as it says something of the agent's calls."""

    index: int
    kind: Literal["tool.completed", "tool.failed", "tool.rejected"]
    call_id: CallId
    tool: str
    effect: Effect | None
    mode: Literal["agent", "person"]
    at: datetime
    principal_id: PrincipalId
    asked: bool
    """A person's answer stands behind it."""
    decided_by: PrincipalId | None
    stands_in: bool
    """Whoever decided speaks for whoever asked: a deputy (ADR-0048), or whose schedule it was (ADR-0076)."""
    arguments: str | None
    """JSON; of a call by hand that may undo something. None: erased, or of no such call."""
    result: str | None
    """JSON; of a call that may have made something."""


def found_in(event: EventSeen) -> Finding | None:
    """What the event says; None: nothing that counts."""
    if event.mode == "person":
        return _undoing(event)
    effect = earning_of(event.effect)
    if effect is None or event.tool in UPKEEP:
        return None
    return Ended(
        index=event.index,
        call_id=event.call_id,
        tool=event.tool,
        effect=effect,
        at=event.at,
        mark=_mark(event),
        made=_id_in(event.result, *MADE[event.tool]) if event.tool in MADE else None,
    )


def _mark(event: EventSeen) -> Mark:
    """A rejection and a failure count whoever asked; an approval only from somebody else."""
    match event.kind:
        case "tool.rejected":
            return "rejected"
        case "tool.failed":
            return "failed"
        case "tool.completed" if not event.asked:
            return "unasked"
        case "tool.completed":
            is_own = event.stands_in or event.decided_by in (None, event.principal_id)
            return "own" if is_own else "approved"


def _undoing(event: EventSeen) -> Undoing | None:
    made_by, named = UNDOES.get(event.tool, (frozenset[str](), ""))
    thing = _id_in(event.arguments, named) if made_by else None
    if thing is None or (event.tool == "task_update" and _in(event.arguments, "status") != "cancelled"):
        return None
    return Undoing(index=event.index, call_id=event.call_id, at=event.at, tools=made_by, thing=thing)


def _id_in(text: str | None, *path: str) -> UUID | None:
    found = _in(text, *path)
    try:
        return UUID(found) if isinstance(found, str) else None
    except ValueError:
        return None


def _in(text: str | None, *path: str) -> object:
    """What stands at the path in a JSON text; None where there is no such place."""
    try:
        found: object = None if text is None else orjson.loads(text)
    except ValueError:
        return None
    for name in path:
        found = cast("dict[str, object]", found).get(name) if isinstance(found, dict) else None
    return found


def tally_of(calls: Sequence[CountedCall], rules: CountingRules) -> Tally:
    """What the calls come to."""
    each = Counter(call.mark for call in calls)
    return Tally(
        approved=each["approved"],
        rejected=each["rejected"],
        failed=each["failed"],
        reversed=each["reversed"],
        bound=wilson_lower(each["approved"], len(calls), rules.z),
    )


def incident_in(tool: str, newest: Iterable[NewestCall], rules: EarnedRules) -> Incident | None:
    """Whether too many of the tool's newest calls went wrong."""
    looked = list(newest)[: rules.incident_calls]
    wrong = tuple(call.call_id for call in looked if _went_wrong(call, rules.counting))
    return Incident(tool=tool, calls=wrong, of=len(looked)) if len(wrong) >= rules.incidents_to_lower else None


def _went_wrong(call: NewestCall, rules: CountingRules) -> bool:
    return call.how != "done" or counts_as_reversed(call.at, call.reversed_at, rules)


def counts_as_reversed(ended_at: datetime, reversed_at: datetime | None, rules: CountingRules) -> bool:
    """Whether it was undone soon enough to count against the call."""
    return reversed_at is not None and reversed_at - ended_at <= rules.reversed_within
