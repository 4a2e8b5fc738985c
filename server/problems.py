"""Errors as RFC 9457 problem details with a stable `code`: what HTTP answers instead of a stack trace."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class Problem(Exception):
    """A refusal that a door answers; its words may be shown to whoever asked."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


def not_found(what: str = "resource") -> Problem:
    """The same answer for what does not exist and for what is another organization's."""
    return Problem(404, "not_found", f"There is no such {what}.")


def unavailable() -> Problem:
    """The database is away; the same request may succeed in a moment."""
    detail = "The service is not available for a moment; please try again."
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def too_many(of_what: str, detail: str) -> Problem:
    """One principal has as much of it under way as it may; there is room again when some of that has ended."""
    return Problem(429, f"too_many_{of_what}", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def problem_response(problem: Problem, request: Request | None = None) -> Response:
    """The problem as it goes out."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
    }
    if request is not None:
        body["instance"] = request.url.path
    body.update(problem.extra)
    content = orjson.dumps(body, default=str)
    return Response(content, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
