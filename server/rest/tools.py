"""The tools that the caller may use, and calling one by its name."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from domain.paging import PAGE_LIMIT, Page
from server.http.answers import call_answer, json_answer
from server.http.bodies import Body, JsonBody
from server.http.document import (
    BODY_REFUSALS,
    CALL_REFUSALS,
    WAITING,
    listed,
    of_model,
    shows,
)
from server.http.parameters import Text, only_known
from server.http.visits import API, Api, Visit, open_to
from server.problems import not_found
from tools.manifest import Manifest
from tools.outcomes import Json
from tools.views.values import page_json

router = APIRouter(tags=["tools"])


class ToolView(BaseModel):
    """A tool, as its manifest describes it."""

    name: str
    version: str
    title: str
    description: str
    effect: str
    least_role: str
    doors: list[str]
    writes: list[str]
    person_only: bool
    standards: list[str]
    arguments: dict[str, object]
    """A JSON Schema (2020-12)."""
    result: dict[str, object]
    """A JSON Schema (2020-12)."""


class VerdictView(BaseModel):
    decision: str
    reasons: list[str]


class CallView(BaseModel):
    """A call that is done, or that would have been."""

    call_id: str
    outcome: str
    result: dict[str, object] | None = None
    verdict: VerdictView | None = None


class CallBody(Body):
    """A call: arguments by the tool's schema; `dry_run` decides and records, and does nothing."""

    arguments: dict[str, object] = Field(description="By the tool's own schema.")
    dry_run: bool = False


def called(request: Request) -> tuple[str, Json]:
    """What a refused caller called; the arguments stand in the body, which is not read for it."""
    return str(request.path_params["name"]), {}


@router.get("/v1/tools", responses=shows(listed(of_model(ToolView))))
async def list_tools(
    visit: Api,
    _known: Annotated[None, Depends(only_known)],
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT)] = PAGE_LIMIT,
    cursor: Text | None = None,
) -> Response:
    """The tools that the caller's role may call here, by name; also those that models never see."""
    # Paged by name, which is what a tool is known by: the cursor is the last one's.
    behind = [manifest for manifest in await _offered(visit) if cursor is None or manifest.name > cursor]
    shown = tuple(behind[:limit])
    more = shown[-1].name if len(behind) > limit else None
    return json_answer(page_json(Page(items=shown, next_cursor=more), tool_json))


@router.get("/v1/tools/{name}", responses=shows(of_model(ToolView)))
async def get_tool(visit: Api, name: str) -> Response:
    """One tool."""
    for manifest in await _offered(visit):
        if manifest.name == name:
            return json_answer(tool_json(manifest))
    raise not_found()


@router.post(
    "/v1/tools/{name}/call",
    responses={**shows(of_model(CallView)), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS},
)
async def call_tool(
    name: str,
    visit: Annotated[Visit, Depends(open_to(API, refused=called))],
    body: Annotated[CallBody, Depends(JsonBody(CallBody, for_gate=True))],
) -> Response:
    """Call a tool by the caller's own hand."""
    return call_answer(await visit.call(name, body.arguments, dry_run=body.dry_run))


async def _offered(visit: Visit) -> Sequence[Manifest]:
    """What nothing forbids this caller before arguments are known."""
    return await visit.hub.offers.manifests(visit.principal)


def tool_json(manifest: Manifest) -> Json:
    """A tool as the interface shows it."""
    shown = ToolView(
        name=manifest.name,
        version=manifest.version,
        title=manifest.title,
        description=manifest.description,
        effect=manifest.effect,
        least_role=str(manifest.least_role),
        doors=sorted(manifest.doors),
        writes=sorted(manifest.writes),
        person_only=manifest.person_only,
        standards=list(manifest.standards),
        arguments=manifest.arguments,
        result=manifest.result,
    )
    return shown.model_dump()
