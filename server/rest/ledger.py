"""The ledger: its newest head, what proves a call, and all of it as lines of JSON, each by a call through the gate."""

from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server.exports import exported
from server.http.answers import result_answer
from server.http.bodies import Json
from server.http.document import CALL_REFUSALS, shows, tool_result
from server.http.negotiation import choose
from server.http.visits import Api

router = APIRouter(prefix="/v1/activity", tags=["activity"])
files = APIRouter(prefix="/v1/activity", tags=["activity"])
"""The route that answers with a file."""

NDJSON = "application/x-ndjson"
LARGEST_SIZE = 2**53 - 1


@router.get("/head", responses={**shows(tool_result("audit_head")), **CALL_REFUSALS})
async def head(visit: Api, since: Annotated[int | None, Query(ge=0, le=LARGEST_SIZE)] = None) -> Response:
    """The newest signed head of the organization's ledger.

    `since`: the size of a head kept earlier; with it come the hashes that prove it to be the beginning of this one.
    """
    outcome = await visit.call("audit_head", {} if since is None else {"since": since})
    return result_answer(outcome, lambda result: result)


@router.get("/{call_id}/proof", responses={**shows(tool_result("audit_prove")), **CALL_REFUSALS})
async def proof(
    visit: Api, call_id: UUID, since: Annotated[int | None, Query(ge=0, le=LARGEST_SIZE)] = None
) -> Response:
    """What proves that a call's events are in the ledger, under the newest head; `unsealed`: how many are not yet.

    `since`: the size of a head kept earlier; with it come the hashes that prove it to be the beginning of this one.
    """
    arguments: Json = {"call_id": str(call_id), **({} if since is None else {"since": since})}
    outcome = await visit.call("audit_prove", arguments)
    return result_answer(outcome, lambda result: result)


@files.get(
    "/export",
    response_class=Response,
    responses={
        200: {
            "description": "A line of JSON a row, between them the signed heads; `docs/ledger.md` says what they hold. "
            "With `format=ocsf` a line an event, as OCSF has it",
            "content": {NDJSON: {"schema": {"type": "string"}}},
        },
        **CALL_REFUSALS,
    },
)
async def export(
    request: Request,
    visit: Api,
    payloads: bool = False,
    format: Literal["ledger", "ocsf"] = "ledger",
    since: Annotated[int | None, Query(ge=0, le=LARGEST_SIZE)] = None,
) -> Response:
    """Everything that is sealed, to be checked by anybody. `payloads`: also what calls carried and gave.

    `format=ocsf`: for a SIEM; `since`: how many rows it has already, as the header `X-Ledger-Size` told it last.
    """
    choose(request, NDJSON)
    asked: Json = {"payloads": payloads, "format": format}
    outcome = await visit.call("audit_export", asked if since is None else {**asked, "since": since})
    if outcome.outcome != "done":
        return result_answer(outcome, lambda result: result)
    result = cast(Json, outcome.result)
    lines = exported(visit.session, visit.principal.organization_id, result, visit.hub.clock())
    return StreamingResponse(
        lines,
        media_type=NDJSON,
        headers={
            "Content-Disposition": f'attachment; filename="{format}-{result["size"]}.ndjson"',
            "X-Ledger-Size": str(result["size"]),
            "X-Call-Id": str(outcome.call_id),
        },
    )
