"""A gate that answers as a test wrote down, for tests of what stands above it; the real one has tests of its own."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from domain.kernel import ApprovalId, CallId, Principal, Role
from tests.support.scripted_model import Pace, at_once
from tools.outcomes import Allow, ApprovalAsked, CallError, CallOutcome, CallRequest, Deny, Json, NeedsApproval

Answer = Callable[[CallRequest], CallOutcome]

EXPIRES = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class ScriptedGate:
    """Satisfies agent.calling.Caller: a tool it has no answer for is unknown."""

    def __init__(self, *, pace: Pace = at_once, **answers: Answer) -> None:
        self._answers = answers
        self._pace = pace
        self.requests: list[CallRequest] = []
        self.principals: list[Principal] = []

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        self.requests.append(request)
        self.principals.append(principal)
        await self._pace()
        return self._answers.get(request.tool, unknown)(request)


def done(result: Json) -> Answer:
    """Allowed, and done with this result."""

    def answer(request: CallRequest) -> CallOutcome:
        verdict = Allow(reasons=("within_role",))
        return CallOutcome(
            call_id=request.call_id, tool=request.tool, outcome="done", verdict=verdict, result=result, duration_ms=1.0
        )

    return answer


def unknown(request: CallRequest) -> CallOutcome:
    """No tool of that name."""
    error = CallError(code="unknown_tool", message=f"There is no tool {request.tool}.")
    return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="invalid", error=error)


def invalid(request: CallRequest) -> CallOutcome:
    """Arguments that do not fit."""
    detail = {"path": "title", "message": "is required"}
    error = CallError(code="invalid_arguments", message="The arguments do not fit.", details=(detail,))
    return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="invalid", error=error)


def denied(request: CallRequest) -> CallOutcome:
    """Refused by policy."""
    error = CallError(code="denied", message="Not allowed.")
    verdict = Deny(reasons=("role_too_low",))
    return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="denied", verdict=verdict, error=error)


def waiting(request: CallRequest) -> CallOutcome:
    """Left a question to a partner."""
    verdict = NeedsApproval(reasons=("level_l1",), needs_role=Role.PARTNER, four_eyes=True)
    asked = ApprovalAsked(
        approval_id=approval_of(request.call_id), needs_role=Role.PARTNER, four_eyes=True, expires_at=EXPIRES
    )
    return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="waiting", verdict=verdict, approval=asked)


def approval_of(call_id: CallId) -> ApprovalId:
    """The id of the question that a waiting call left."""
    return ApprovalId(UUID(int=call_id.int + 1_000_000))
