"""How answers leave: JSON as it stands, and the outcome of a call as a status that says how it ended."""

from collections.abc import Callable, Mapping
from typing import assert_never

import orjson
from starlette.responses import Response

from domain.idempotency.model import KeyInProgress
from server.http.keys import replayed_headers
from server.problems import RETRY_AFTER_S, Problem
from tools.outcomes import CallOutcome, Json, error_json, verdict_json

Show = Callable[[Json], object]
Place = Callable[[Json], str]

TOO_LATE_OR_EARLY = frozenset(
    {
        "already_decided",
        "already_ended",
        "approval_expired",
        "call_has_ended",
        "call_under_way",
        "document_not_ready",
        "not_restorable",
        "policy_exists",
        "proposal_outdated",
        "run_ended",
        "trust_conflict",
        "version_conflict",
    }
)
"""Of a resource that is there, in a state that does not allow what was asked."""


def json_answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(body), status_code=status, headers=headers, media_type="application/json")


def call_answer(outcome: CallOutcome) -> Response:
    """A call as `/v1/tools/{name}/call` answers it.

    Raises  Problem: it was refused or failed.
    """
    match outcome.outcome:
        case "done" | "dry_run":
            return json_answer(call_json(outcome), headers=replayed_headers(outcome.replayed))
        case "waiting":
            return json_answer(call_json(outcome), 202, replayed_headers(outcome.replayed))
        case _:
            raise refused(outcome)


def result_answer(outcome: CallOutcome, show: Show, status: int = 200, place: Place | None = None) -> Response:
    """What a call gave, as the resource that a route is about; a waiting call answers 202 with itself.

    `place`: where what the call made is found from now on.
    Raises  Problem: it was refused or failed; 404 where the resource does not exist for this principal.
    """
    if outcome.outcome == "done":
        result = outcome.result or {}
        headers = {"X-Call-Id": str(outcome.call_id), **replayed_headers(outcome.replayed)}
        if place is not None:
            headers["Location"] = place(result)
        return json_answer(show(result), status, headers)
    try:
        return call_answer(outcome)
    except Problem as problem:
        raise _about_the_resource(problem) from None


def call_json(outcome: CallOutcome) -> Json:
    """A call: `{"call_id", "outcome", "result"?, "verdict"?, "approval_id"?}`."""
    shown: Json = {"call_id": str(outcome.call_id), "outcome": outcome.outcome}
    if outcome.result is not None:
        shown["result"] = outcome.result
    if outcome.verdict is not None:
        shown["verdict"] = verdict_json(outcome.verdict)
    if outcome.approval is not None:
        shown["approval_id"] = str(outcome.approval.approval_id)
    return shown


def refused(outcome: CallOutcome) -> Problem:
    """The problem that a call without a result is answered with; the record has it all the same."""
    shown = {} if outcome.error is None else error_json(outcome.error)
    code = str(shown.pop("code", outcome.outcome))
    detail = str(shown.pop("message", f"The call ended {outcome.outcome}."))
    headers = {"Retry-After": str(RETRY_AFTER_S)} if code == KeyInProgress.code else None
    return Problem(status_of(outcome), code, detail, headers=headers, extra={**refusal_members(outcome), **shown})


def refusal_members(outcome: CallOutcome) -> Json:
    """What a refused call adds to its problem."""
    verdict = None if outcome.verdict is None else verdict_json(outcome.verdict)
    return {"call_id": str(outcome.call_id), "outcome": outcome.outcome, "verdict": verdict}


def status_of(outcome: CallOutcome) -> int:
    """The HTTP status of a call's outcome.

    Source  contract.md, POST /v1/tools/{name}/call.
    """
    match outcome.outcome:
        case "done" | "dry_run":
            return 200
        case "waiting":
            return 202
        case "denied":
            return 403
        case "invalid":
            return 409 if outcome.error is not None and outcome.error.code == KeyInProgress.code else 422
        case "cancelled" | "expired" | "rejected":
            return 409
        case "failed":
            return 504 if outcome.error is not None and outcome.error.code == "timeout" else 502
        case _:
            assert_never(outcome.outcome)


def _about_the_resource(problem: Problem) -> Problem:
    """An invalid call of a route that names a resource: what is missing is 404, a wrong moment 409, a
    file of a kind that nobody here reads 415.

    The call's own code and words stay: a body names more than the resource, and they say which of it there is not.
    """
    if problem.status == 422 and problem.code.endswith("not_found"):
        problem.status = 404
    elif problem.code == "unsupported_format":
        problem.status = 415
    elif problem.code in TOO_LATE_OR_EARLY:
        problem.status = 409
    return problem
