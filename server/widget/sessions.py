"""`POST /v1/widget/sessions`: a person's own token becomes a short one for a widget, bound to the page it stands on."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from server.http.answers import json_answer
from server.http.bodies import Body, JsonBody, invalid_request
from server.http.document import BODY_REFUSALS, of_model, shows
from server.http.visits import Visit, open_to
from server.hub import Hub
from server.origins import NotAnOrigin, origin_named
from server.problems import Problem
from server.tokens import CannotSign

router = APIRouter(prefix="/v1/widget", tags=["widget"])

LIFETIME = timedelta(minutes=15)
ORIGIN_LENGTH = 300


class SessionAsked(Body):
    """Where the widget stands."""

    origin: str = Field(
        min_length=1, max_length=ORIGIN_LENGTH, description="Of the page, as browsers write it: scheme, host and port."
    )


class SessionView(BaseModel):
    """A token of audience `widget`, of use to pages of its origin alone."""

    token: str
    expires_at: str


@router.post("/sessions", responses={**shows(of_model(SessionView)), **BODY_REFUSALS})
async def begin_session(
    request: Request,
    visit: Annotated[Visit, Depends(open_to(("api",)))],
    body: Annotated[SessionAsked, Depends(JsonBody(SessionAsked))],
) -> Response:
    """Begin a session of a widget, or prolong one: only a person's `api` token does, never a widget's own.

    Signing in changes nothing that a tool would, so it is no call; what the session then does is recorded call by call.
    Under an idempotency key, too, each answer is a session of its own: no token is ever kept.
    """
    if visit.caller.member.kind != "person":
        raise Problem(403, "person_required", "A widget speaks for a person; a service account has none.")
    origin = _admitted(body.origin, request.headers.get("origin"), visit.hub)
    expires_at = _end(visit)
    member, rests_on = visit.caller.member, visit.caller.identity
    lifetime = expires_at - visit.hub.clock()
    try:
        token = visit.hub.tokens.sign(member.principal_id, member.organization, "widget", lifetime, origin, rests_on)
    except CannotSign:
        detail = "This hub signs no tokens: an operator sets GLOW_JWT_SECRET beside GLOW_JWKS_URL for widgets."
        raise Problem(403, "no_widget_tokens", detail) from None
    return json_answer(SessionView(token=token, expires_at=expires_at.isoformat()).model_dump())


def _admitted(named: str, sent: str | None, hub: Hub) -> str:
    """The origin that the session is for; `sent` is that of the page that asks, where a page does.

    Raises  Problem: 422, it is no origin; 403, its pages may not call here, or another's page asks in its name.
    """
    try:
        origin = origin_named(named)
    except NotAnOrigin as wrong:
        raise invalid_request(
            [{"path": "origin", "message": f"{wrong}; send it like https://app.example.com"}]
        ) from wrong
    if origin != hub.own_origin and origin not in hub.settings.allowed_origins:
        detail = "Pages of this origin are not let in; an operator names it in GLOW_ALLOWED_ORIGINS."
        raise Problem(403, "origin_not_allowed", detail)
    if sent not in (None, hub.own_origin, origin):
        raise Problem(403, "wrong_origin", "A page asks for a session of its own origin only.")
    return origin


def _end(visit: Visit) -> datetime:
    """When the session ends: soon, and never after the token that it was begun with."""
    until = visit.hub.clock() + LIFETIME
    given = visit.caller.expires_at
    # Tokens count whole seconds, and what is told must not be later than what holds.
    return (until if given is None else min(until, given)).replace(microsecond=0)
