"""A call that comes again under its idempotency key: the first outcome, kept in the first call's own transaction."""

from typing import Any, assert_never, cast
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from domain.idempotency.model import KeyInProgress, KeyMismatch
from domain.kernel import CallId
from tools.calls import Call
from tools.outcomes import Allow, ApprovalAsked, CallError, CallOutcome, Deny, Json, NeedsApproval, Verdict
from tools.ports import CallTransaction

REFUSED = (KeyMismatch, KeyInProgress)
"""What keeps a call from being made under its key."""

_APPROVAL = TypeAdapter(ApprovalAsked)
_VERDICT: "TypeAdapter[Allow | NeedsApproval]" = TypeAdapter(Allow | NeedsApproval)


class Replayed(Exception):
    """Leaves the transaction: the call was made before, and this is how it ended then."""

    def __init__(self, ended: CallOutcome) -> None:
        super().__init__(ended.outcome)
        self.ended = ended


async def replay(call: Call, transaction: CallTransaction, *, take: bool) -> None:
    """Go on if the call's key is free; `take`: this transaction is the one that will do the work.

    Whoever is no member any more is shown nothing of before; policy will say so.
    Raises  Replayed, KeyMismatch, KeyInProgress.
    """
    claim = call.claim
    if claim is None or transaction.facts.role is None:
        return
    kept = await (transaction.keys.claim(claim) if take else transaction.keys.found(claim))
    if kept is not None:
        raise Replayed(outcome_of(kept))


async def keep(call: Call, transaction: CallTransaction, ended: CallOutcome) -> None:
    """Keep how the call ended under the key that this transaction took."""
    if call.claim is not None:
        await transaction.keys.keep(call.claim, kept_text(ended))


def refusal(refused: KeyMismatch | KeyInProgress) -> CallError:
    """The asker can mend it: by another key, or by asking again."""
    return CallError(code=refused.code, message=str(refused))


def kept_text(ended: CallOutcome) -> str:
    """An outcome that stands, as it is kept; its members in their order, so that it is shown the same again."""
    kept: Json = {
        "call_id": ended.call_id,
        "tool": ended.tool,
        "outcome": ended.outcome,
        "verdict": _verdict(ended.verdict),
        "result": ended.result,
        "approval": ended.approval,
        "duration_ms": ended.duration_ms,
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
