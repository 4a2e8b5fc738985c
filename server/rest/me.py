"""Who the caller is, and how far the agent may go for them."""

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from domain.autonomy.model import AutonomyStatus
from domain.autonomy.service import status_of
from server.http.answers import json_answer
from server.http.document import of_model, shows
from server.http.visits import Api, Visit
from server.problems import Problem
from tools.facts import Facts
from tools.views.calls import autonomy_json

router = APIRouter(tags=["principal"])


class Me(BaseModel):
    """The caller."""

    principal: str
    """An e-mail address, as the record shows it."""
    principal_id: str
    display_name: str
    kind: str
    role: str
    mode: str
    autonomy: str
    """The level in force when the agent acts for this principal, L0 to L3."""
    organization: str
    """The slug."""
    organization_id: str


class Autonomy(BaseModel):
    """The level in force, and what bounds it."""

    level: str
    floor: str
    ceiling: str
    organization_level: str
    autopilot_disabled: bool


@router.get("/v1/me", responses=shows(of_model(Me)))
async def me(visit: Api) -> Response:
    """Who the caller is, in which organization, in which mode, and the autonomy in force."""
    facts = await _facts(visit)
    member, principal = visit.caller.member, visit.principal
    shown = Me(
        principal=member.email,
        principal_id=str(member.principal_id),
        display_name=member.display_name,
        kind=member.kind,
        role=str(facts.role),
        mode=principal.mode,
        autonomy=_autonomy(facts).level.name,
        organization=member.organization,
        organization_id=str(member.organization_id),
    )
    return json_answer(shown.model_dump())


@router.get("/v1/autonomy/status", responses=shows(of_model(Autonomy)))
async def autonomy_status(visit: Api) -> Response:
    """The level in force when the agent acts for the caller, and what bounds it."""
    return json_answer(autonomy_json(_autonomy(await _facts(visit))))


async def _facts(visit: Visit) -> Facts:
    """What policy would see of the caller.

    Raises  Problem: 403, the membership is gone.
    """
    async with visit.hub.transactions.begin(visit.principal, "", {}, None, read_only=True) as transaction:
        facts = transaction.facts
    if facts.role is None:
        raise Problem(403, "not_a_member", "You no longer belong to this organization.")
    return facts


def _autonomy(facts: Facts) -> AutonomyStatus:
    return status_of(facts.range)
