"""How the outcome of a call becomes an answer: each has its status, and every refusal says how it was decided."""

from typing import cast, get_args
from uuid import UUID

import orjson
import pytest
from starlette.responses import Response

from domain.kernel import CallId, Outcome
from server.http.answers import call_answer, refused, result_answer, status_of
from server.problems import Problem
from tools.outcomes import Allow, CallError, CallOutcome, Deny, Json

STATUSES: dict[str, int] = {
    "done": 200,
    "dry_run": 200,
    "waiting": 202,
    "denied": 403,
    "invalid": 422,
    "failed": 502,
    "cancelled": 409,
    "expired": 409,
    "rejected": 409,
}


def ended(outcome: str, code: str | None = None, result: Json | None = None) -> CallOutcome:
    verdict = Deny(reasons=("rule",)) if outcome == "denied" else Allow(reasons=("within_role",))
    return CallOutcome(
        call_id=CallId(UUID(int=1)),
        tool="task_run",
        outcome=cast(Outcome, outcome),
        verdict=verdict,
        result=result,
        error=None if code is None else CallError(code=code, message="Because.", reference="abc"),
    )


def body_of(answer: Response) -> Json:
    return cast(Json, orjson.loads(answer.body))


def test_every_outcome_there_is_has_its_status() -> None:
    assert {outcome: status_of(ended(outcome)) for outcome in get_args(Outcome)} == STATUSES


def test_a_tool_that_took_too_long_is_told_apart_from_one_that_failed() -> None:
    assert status_of(ended("failed", "timeout")) == 504
    assert status_of(ended("failed", "internal")) == 502


@pytest.mark.parametrize("outcome", [outcome for outcome, status in STATUSES.items() if status >= 400])
def test_a_refused_call_raises_a_problem_with_call_outcome_and_verdict(outcome: str) -> None:
    with pytest.raises(Problem) as raised:
        call_answer(ended(outcome, "some_code"))

    problem = raised.value
    assert (problem.status, problem.code, problem.detail) == (STATUSES[outcome], "some_code", "Because.")
    assert problem.extra["call_id"] == str(UUID(int=1))
    assert problem.extra["outcome"] == outcome
    assert problem.extra["verdict"] in (
        {"decision": "deny", "reasons": ["rule"]},
        {"decision": "allow", "reasons": ["within_role"]},
    )
    assert problem.extra["reference"] == "abc"


def test_a_refusal_without_an_error_still_has_a_code() -> None:
    assert refused(ended("expired")).code == "expired"


def test_a_result_is_shown_as_the_resource_with_its_call_beside_it() -> None:
    answer = result_answer(ended("done", result={"task": {"title": "x"}}), lambda result: result["task"], 201)

    assert (answer.status_code, body_of(answer)) == (201, {"title": "x"})
    assert answer.headers["x-call-id"] == str(UUID(int=1))


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("task_not_found", 404, "task_not_found"),
        ("not_found", 404, "not_found"),
        ("already_decided", 409, "already_decided"),
        ("approval_expired", 409, "approval_expired"),
        ("document_not_ready", 409, "document_not_ready"),
        ("invalid_arguments", 422, "invalid_arguments"),
    ],
)
def test_where_a_route_names_a_resource_what_is_missing_is_404_and_a_wrong_moment_409(
    code: str, status: int, shown: str
) -> None:
    with pytest.raises(Problem) as raised:
        result_answer(ended("invalid", code), lambda result: result)

    assert (raised.value.status, raised.value.code) == (status, shown)
    with pytest.raises(Problem) as named:
        call_answer(ended("invalid", code))
    assert (named.value.status, named.value.code) == (422, code)
