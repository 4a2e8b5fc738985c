"""Sources of documents: read under row level security, set up, changed, synced and removed through the gate."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from knowledge.sources.model import ChangeKind, ChangeQuery, SourceId, SourceQuery
from server.http.answers import json_answer, result_answer
from server.http.bodies import Json, ToolArguments, invalid_request
from server.http.document import (
    BODY_REFUSALS,
    CALL_REFUSALS,
    KEY_REFUSALS,
    WAITING,
    listed,
    or_waits,
    shows,
    tool_result,
)
from server.http.parameters import PageAsked
from server.http.visits import Api
from tools.views.sources import change_json, source_json
from tools.views.values import page_json

router = APIRouter(prefix="/v1/knowledge/sources", tags=["knowledge"])

SOURCE = tool_result("source_add", "source")
TASK_RUN = tool_result("task_run", "task_run")
LARGEST = 2**53 - 1


@router.get("", responses=shows(listed(SOURCE)))
async def list_sources(visit: Api, page: PageAsked) -> Response:
    """The folders, drives and sites that documents are kept like, newest first; a client is told of none."""
    async with visit.session() as session:
        return json_answer(page_json(await session.work.sources.list(SourceQuery(page=page)), source_json))


@router.post(
    "",
    status_code=201,
    responses={**shows(SOURCE, status=201, located="The source"), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS},
)
async def add_source(visit: Api, arguments: Annotated[Json, Depends(ToolArguments("source_add"))]) -> Response:
    """Have the documents kept like a folder, a drive or a site."""
    outcome = await visit.call("source_add", arguments)
    return result_answer(outcome, lambda result: result["source"], 201, place=_place)


@router.get("/{source_id}", responses=shows(SOURCE))
async def get_source(visit: Api, source_id: UUID) -> Response:
    """One source, and what its newest sync did."""
    async with visit.session() as session:
        return json_answer(source_json(await session.work.sources.get(SourceId(source_id))))


@router.patch("/{source_id}", responses={**shows(SOURCE), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS})
async def change_source(
    visit: Api,
    source_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("source_change", from_path=("source_id",)))],
) -> Response:
    """Change its name, its schedule or how much of it is read; what is not given stays as it is."""
    outcome = await visit.call("source_change", {**arguments, "source_id": str(source_id)})
    return result_answer(outcome, lambda result: result["source"])


@router.get("/{source_id}/changes", responses=shows(tool_result("source_report")))
async def list_changes(
    visit: Api,
    source_id: UUID,
    kind: ChangeKind | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    before: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
) -> Response:
    """What the syncs did, item by item, newest first: of what the caller may see."""
    query = ChangeQuery(source_id=SourceId(source_id), kind=kind, limit=limit, before=before)
    async with visit.session() as session:
        source = await session.work.sources.get(query.source_id)
        changes, behind = await session.work.sources.changes(query)
    items = [change_json(change) for change in changes]
    return json_answer({"source": source_json(source), "items": items, "next_before": behind})


@router.post(
    "/{source_id}/sync",
    status_code=202,
    responses={
        **shows(
            or_waits(TASK_RUN),
            status=202,
            description="Accepted: it runs in the background, or waits for a person's approval (`outcome`: waiting)",
            located="The run, where it is accepted",
        ),
        **KEY_REFUSALS,
        **CALL_REFUSALS,
    },
)
async def sync_source(visit: Api, source_id: UUID) -> Response:
    """Bring the documents up to date with the source, in the background."""
    async with visit.session() as session:
        source = await session.work.sources.get(SourceId(source_id))
    if source.task_id is None:
        raise invalid_request([{"path": "source_id", "message": "no task syncs it: remove it, and set it up again"}])
    outcome = await visit.call("task_run", {"task_id": str(source.task_id)})
    return result_answer(outcome, lambda result: result["task_run"], 202, place=_run_place)


@router.delete(
    "/{source_id}",
    status_code=202,
    responses={
        **shows(
            or_waits(tool_result("source_remove")),
            status=202,
            description="Its documents go in the background; or it waits for a person's approval (`outcome`: waiting)",
        ),
        **CALL_REFUSALS,
    },
)
async def remove_source(visit: Api, source_id: UUID) -> Response:
    """End a source; the documents that came from it are deleted in the background."""
    return result_answer(await visit.call("source_remove", {"source_id": str(source_id)}), lambda result: result, 202)


def _place(result: Json) -> str:
    return f"/v1/knowledge/sources/{cast(Json, result['source'])['source_id']}"


def _run_place(result: Json) -> str:
    return f"/v1/task-runs/{cast(Json, result['task_run'])['task_run_id']}"
