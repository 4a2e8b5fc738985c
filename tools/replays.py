"""A call that comes again under its idempotency key: the first outcome, kept in the first call's own transaction."""

from dataclasses import replace
from typing import Any, assert_never, cast
from uuid import UUID

import orjson
import structlog
from pydantic import TypeAdapter

from domain.idempotency.model import KeyInProgress, KeyMismatch
from domain.kernel import CallId
from tools.calls import Call, begin
from tools.outcomes import (
    OUTCOME_UNKNOWN,
    Allow,
    ApprovalAsked,
    CallError,
    CallOutcome,
    Deny,
    Json,
    NeedsApproval,
    Verdict,
)
from tools.ports import CallTransaction, Transactions

log = structlog.get_logger()

REFUSED = (KeyMismatch, KeyInProgress)
"""What keeps a call from being made under its key."""

_ERROR = TypeAdapter(CallError)
_APPROVAL = TypeAdapter(ApprovalAsked)
_VERDICT: "TypeAdapter[Allow | NeedsApproval]" = TypeAdapter(Allow | NeedsApproval)


class Replayed(Exception):
    """Leaves the transaction: the call was made before, and this is how it ended then."""

    def __init__(self, ended: CallOutcome) -> None:
        super().__init__(ended.outcome)
        self.ended = ended


async def replay(call: Call, transaction: CallTransaction, *, take: bool) -> None:
    """Go on if the call's key is free; `take`: this transaction is the one that will do the work.

    Whoever is no member any more is shown nothing of before; policy will say so. A read is answered anew, and recorded
    anew, where the asker's sight is another than it was or its subject is gone: it has no act to keep from being done
    twice, and an answer kept outside row security is none for whoever sees less by now. What a search found stays in
    its kept answer also when a document is deleted (ADR-0023).
    Raises  Replayed, KeyMismatch, KeyInProgress.
    """
    claim = call.claim
    if claim is None or transaction.facts.role is None:
        return
    kept = await (transaction.keys.claim(claim) if take else transaction.keys.found(claim))
    if kept is not None and (call.manifest.may_write or await _sees_the_same(transaction, kept)):
        raise Replayed(await _by_now(transaction, outcome_of(kept)))


async def _by_now(transaction: CallTransaction, kept: CallOutcome) -> CallOutcome:
    """What was kept; of a call that acted outside, what the record says of it since.

    Raises  KeyInProgress: it says nothing yet.
    """
    if kept.error is None or kept.error.code != OUTCOME_UNKNOWN:
        return kept
    recorded = await as_recorded(transaction, kept.call_id)
    if recorded is None:
        raise KeyInProgress
    return replace(recorded, verdict=kept.verdict, replayed=True)


async def as_recorded(transaction: CallTransaction, call_id: CallId) -> CallOutcome | None:
    """How the record says that the call ended; None: it says nothing yet."""
    item = (await transaction.work.activity.call(call_id)).item
    if item.outcome is None:
        return None
    error = None if item.error_code is None else CallError(code=item.error_code, message="As the record has it.")
    return CallOutcome(
        call_id=item.call_id,
        tool=item.tool,
        outcome=item.outcome,
        result=None if item.result is None else cast(Json, orjson.loads(item.result)),
        error=error,
    )


async def keep(call: Call, transaction: CallTransaction, ended: CallOutcome, sight: str | None = None) -> None:
    """Keep how the call ended under the key that this transaction took; of a read, with the `sight` it was read by."""
    if call.claim is not None:
        await transaction.keys.keep(call.claim, kept_text(ended, sight))


async def kept_read(transactions: Transactions, call: Call, ended: CallOutcome, sight: str | None) -> CallOutcome:
    """A read changed nothing: its answer is kept once it stands, and of several at once the first one's counts.

    `sight`: by what it was read. Where the first one was read by another, this one takes its place.
    """
    if call.claim is None:
        return ended
    try:
        async with begin(transactions, call, read_only=False) as transaction:
            await replay(call, transaction, take=True)
            await keep(call, transaction, ended, sight)
    except Replayed as before:
        return before.ended
    except REFUSED:
        # Another request under this key came to its end meanwhile. This one was read and recorded all the same.
        log.info("idempotency.read_unkept", callId=str(call.request.call_id))
    return ended


async def sight_of(call: Call, transaction: CallTransaction) -> str | None:
    """What a read under a key is shown by; None where nobody will ask."""
    return None if call.claim is None or call.manifest.may_write else await transaction.keys.sight()


async def _sees_the_same(transaction: CallTransaction, kept: str) -> bool:
    sight = cast("dict[str, Any]", orjson.loads(kept)).get("sight")
    return not transaction.facts.missing and sight == await transaction.keys.sight()


def refusal(refused: KeyMismatch | KeyInProgress) -> CallError:
    """The asker can mend it: by another key, or by asking again."""
    return CallError(code=refused.code, message=str(refused))


def kept_text(ended: CallOutcome, sight: str | None = None) -> str:
    """An outcome that stands, as it is kept; its members in their order, so that it is shown the same again."""
    kept: Json = {
        "call_id": ended.call_id,
        "tool": ended.tool,
        "outcome": ended.outcome,
        "verdict": _verdict(ended.verdict),
        "result": ended.result,
        "error": ended.error,
        "approval": ended.approval,
        "duration_ms": ended.duration_ms,
        "sight": sight,
    }
    return orjson.dumps(kept).decode()


def outcome_of(text: str) -> CallOutcome:
    """The outcome that was kept."""
    kept = cast("dict[str, Any]", orjson.loads(text))
    return CallOutcome(
        call_id=CallId(UUID(kept["call_id"])),
        tool=kept["tool"],
        outcome=kept["outcome"],
        verdict=_VERDICT.validate_python(kept["verdict"]),
        result=kept["result"],
        # Absent where it was kept before errors were.
        error=None if kept.get("error") is None else _ERROR.validate_python(kept["error"]),
        approval=None if kept["approval"] is None else _APPROVAL.validate_python(kept["approval"]),
        duration_ms=kept["duration_ms"],
        replayed=True,
    )


def _verdict(verdict: Verdict | None) -> Json:
    match verdict:
        case Allow():
            return {"reasons": verdict.reasons}
        case NeedsApproval():
            return {"reasons": verdict.reasons, "needs_role": verdict.needs_role, "four_eyes": verdict.four_eyes}
        case Deny() | None:
            raise AssertionError("a refused call leaves nothing to be kept")
        case _:
            assert_never(verdict)
