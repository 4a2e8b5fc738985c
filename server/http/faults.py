"""Whatever a route raises becomes a problem; what nobody expected becomes a reference that stands in the log."""

from collections.abc import Callable
from uuid import UUID

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.conversations.refusals import ClientMessageReused, ConversationBusy
from agent.runs import TooManyRuns
from domain.idempotency.model import KeyInProgress
from domain.kernel import DomainError, NotFound
from server.http.bodies import invalid_request
from server.problems import RETRY_AFTER_S, Problem, not_found, problem_response, too_many, unavailable
from tools.outcomes import reference_of
from tools.ports import Unavailable

log = structlog.get_logger()

CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}
"""Of what the framework itself refuses."""


def answer_problems(app: FastAPI) -> None:
    """Let every refusal that a route raises be answered as problem+json."""
    for refusal in (Problem, HTTPException, RequestValidationError, DomainError, Unavailable):
        app.add_exception_handler(refusal, _answer)


class LastResort:
    """Middleware: an exception that no route expected is logged under a reference, and the reference is the answer."""

    def __init__(self, app: ASGIApp, new_id: Callable[[], UUID]) -> None:
        self._app = app
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Unavailable as away:
            log.warning("http.unavailable", exc_info=away)
            if started:
                raise
            await problem_response(unavailable(), Request(scope))(scope, receive, send)
        except Exception as fault:
            reference = reference_of(self._new_id())
            log.error("http.faulted", reference=reference, path=scope["path"], exc_info=fault)
            if started:
                # Half an answer stands already: only breaking the connection tells the reader that it is not whole.
                raise
            await problem_response(internal(reference), Request(scope))(scope, receive, send)


def internal(reference: str) -> Problem:
    """500: the reference is all that leaves."""
    detail = "Something went wrong inside the server; its log knows more under the reference."
    return Problem(500, "internal", detail, extra={"reference": reference})


async def _answer(request: Request, fault: Exception) -> Response:
    return problem_response(problem_of(fault, request), request)


def problem_of(fault: Exception, request: Request) -> Problem:
    """The problem that a refusal is answered with.

    Raises  fault: it is none of the refusals that routes raise.
    """
    match fault:
        case Problem():
            return fault
        case Unavailable():
            log.warning("http.unavailable", exc_info=fault)
            return unavailable()
        case NotFound():
            return not_found()
        case ConversationBusy() | ClientMessageReused():
            return Problem(409, fault.code, _sentence(fault))
        case KeyInProgress():
            return Problem(409, fault.code, _sentence(fault), headers={"Retry-After": str(RETRY_AFTER_S)})
        case TooManyRuns():
            return too_many("runs", _sentence(fault))
        case DomainError():
            return Problem(422, fault.code, _sentence(fault))
        case RequestValidationError():
            return _invalid_parameters(fault)
        case HTTPException():
            return _refused_by_framework(fault, request)
        case _:
            raise fault


def _refused_by_framework(fault: HTTPException, request: Request) -> Problem:
    headers = dict(fault.headers or {})
    if fault.status_code == 405:
        headers["Allow"] = ", ".join(allowed_methods(request))
    return Problem(fault.status_code, CODES.get(fault.status_code, "refused"), str(fault.detail), headers=headers)


def _invalid_parameters(fault: RequestValidationError) -> Problem:
    errors = fault.errors()
    # A path that names nothing that can be is the same as one that names nothing that is.
    if any(error["loc"][0] == "path" for error in errors):
        return not_found()
    return invalid_request(
        [{"path": ".".join(map(str, error["loc"][1:])), "message": str(error["msg"])} for error in errors]
    )


def _sentence(refusal: DomainError) -> str:
    words = str(refusal).rstrip(".")
    return f"{words[:1].upper()}{words[1:]}."


def allowed_methods(request: Request) -> list[str]:
    """Every method that some route of this path takes.

    Source  RFC 9110 15.5.6: a 405 names them all, where the framework names the first route's.
    """
    allowed: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        matched, _ = context.matches({**request.scope, "path_params": {}})
        if matched is not Match.NONE:
            allowed |= context.methods or set()
    return sorted(allowed)
