"""The agents that a message may be for."""

from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.responses import Response

from agent.orchestrator import Orchestrator
from agent.personas import DEFAULT, Persona
from domain.paging import Page
from server.http.answers import json_answer
from server.http.bodies import Json
from server.http.document import listed, of_model, shows
from server.http.parameters import only_known
from server.http.visits import Api
from tools.views.values import page_json

router = APIRouter(tags=["chat"])


class AgentView(BaseModel):
    """One of the agents."""

    name: str
    """What `agent` of a message says."""
    title: str
    description: str
    tools: list[str]
    """Those of its tools that the caller may use by it."""
    autonomy_ceiling: str
    """The level that its calls never exceed, whatever the organization and the member allow."""
    model: str
    """The model it speaks by."""
    wanted_model: str | None
    """The model its manifest names, where this installation does not offer it."""
    default: bool


@router.get("/v1/agents", responses=shows(listed(of_model(AgentView))))
async def list_agents(visit: Api, _known: Annotated[None, Depends(only_known)]) -> Response:
    """The agents there are, the one that answers unasked first."""
    offered = {manifest.name for manifest in await visit.hub.offers.manifests(visit.in_chat)}
    orchestrator = visit.hub.orchestrator
    page = Page(items=tuple(orchestrator.personas()), next_cursor=None)
    return json_answer(page_json(page, lambda persona: agent_json(persona, orchestrator, offered)))


def agent_json(persona: Persona, orchestrator: Orchestrator, offered: Collection[str]) -> Json:
    """An agent as the interface shows it."""
    model = orchestrator.model_of(persona).name
    return AgentView(
        name=persona.name,
        title=persona.title,
        description=persona.description,
        tools=[tool for tool in persona.tools if tool in offered],
        autonomy_ceiling=persona.autonomy_ceiling.name,
        model=model,
        wanted_model=persona.model if persona.model != model else None,
        default=persona.name == DEFAULT,
    ).model_dump()
