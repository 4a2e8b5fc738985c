"""Documents: searched, uploaded, trusted and deleted through the gate; listed and shown under row level security."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from domain.idempotency.model import KeyInProgress, KeyMismatch
from domain.kernel import Audience, Role, Trust
from knowledge.languages import Language
from knowledge.model import DocumentId, DocumentQuery, DocumentStatus
from knowledge.removal import DeletedQuery
from server.http.answers import json_answer, refusal_members, refused, result_answer
from server.http.bodies import Body, Json, ToolArguments, invalid_request
from server.http.document import (
    BODY_REFUSALS,
    CALL_REFUSALS,
    KEY_REFUSALS,
    WAITING,
    listed,
    or_waits,
    problems,
    shows,
    tool_result,
    with_members,
)
from server.http.files import FILE, file_answer, file_content
from server.http.keys import replayed_headers
from server.http.parameters import EngagementAsked, PageAsked
from server.http.uploads import NAME_LIMIT, Upload, UploadBody
from server.http.visits import Api, People, Visit
from tools.outcomes import CallOutcome, error_json
from tools.views.knowledge import deleted_json, document_json
from tools.views.values import page_json

router = APIRouter(prefix="/v1/knowledge", tags=["knowledge"])
files = APIRouter(prefix="/v1/knowledge", tags=["knowledge"])
"""The route that answers with a file, whatever is accepted."""

DOCUMENT = tool_result("document_upload", "document")
INDEXED_WITHIN_S = 60.0
"""How long `?wait=true` waits for the worker; then the answer is 202 all the same."""
LOOK_EVERY_S = 0.1
LOCATED = "The document, where the upload made exactly one"
KEY_REFUSED = frozenset({KeyMismatch.code, KeyInProgress.code})
UNFINISHED: frozenset[object] = frozenset({"queued", "parsing", "embedding"})


class UploadFields(Body):
    """The fields beside the files of an upload."""

    model_config = ConfigDict(strict=False, extra="forbid", frozen=True)

    title: str | None = Field(default=None, min_length=1, max_length=NAME_LIMIT, description="Of a single file.")
    uri: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="Of a single file: its name; the same again replaces it.",
    )
    audience: Audience | None = None
    trust: Trust | None = Field(
        default=None,
        description="Who wrote it: the firm itself (`internal`), its client or (also where left out) somebody else.",
    )
    language: Language | None = None
    engagement_id: UUID | None = None


TAKEN_IN: dict[str, Json] = {"call_id": {"type": "string", "format": "uuid"}, "outcome": {"const": "done"}}
UPLOADED: Json = {
    "type": "object",
    "required": ["items"],
    "properties": {
        "items": {
            "type": "array",
            "description": "One a file, in their order: the document, or how the call of its upload was refused.",
            "items": {
                "anyOf": [
                    with_members(DOCUMENT, **TAKEN_IN),
                    with_members(DOCUMENT, **TAKEN_IN, unchanged={"const": True}),
                    {"type": "object", "required": ["title", "call_id", "outcome", "verdict"]},
                ]
            },
        }
    },
}


DELETED: Json = {
    "type": "object",
    "required": [
        "document_id",
        "title",
        "media_type",
        "audience",
        "size_bytes",
        "uploaded_by",
        "deleted_at",
        "restorable_until",
    ],
    "properties": {
        "document_id": {"type": "string", "format": "uuid"},
        "title": {"type": "string"},
        "media_type": {"type": "string"},
        "audience": {"enum": ["firm", "client"]},
        "engagement_id": {"type": "string", "format": "uuid"},
        "size_bytes": {"type": "integer", "minimum": 0},
        "uploaded_by": {"type": "string", "description": "An e-mail address."},
        "deleted_at": {"type": "string", "format": "date-time"},
        "restorable_until": {"type": "string", "format": "date-time"},
    },
}
RESTORE_DAYS: Json = {
    "type": "integer",
    "minimum": 0,
    "description": "As many days what is deleted now can be restored; 0: not at all.",
}


@router.post(
    "/search",
    responses={**shows(tool_result("knowledge_search")), **BODY_REFUSALS, **CALL_REFUSALS},
)
async def search(visit: Api, arguments: Annotated[Json, Depends(ToolArguments("knowledge_search"))]) -> Response:
    """Passages of the documents that the caller may see, best first."""
    return result_answer(await visit.call("knowledge_search", arguments), lambda result: result)


@router.post(
    "/documents",
    status_code=202,
    responses={
        **shows(UPLOADED, status=202, description="Queued to be indexed", located=LOCATED),
        **shows(UPLOADED, status=201, description="Indexed, with `wait`", located=LOCATED),
        **BODY_REFUSALS,
        **CALL_REFUSALS,
        **problems(429),
    },
)
async def upload(
    visit: People,
    form: Annotated[Upload[UploadFields], Depends(UploadBody(UploadFields))],
    wait: bool = False,
) -> Response:
    """Upload files; each becomes a document of its own. `wait`: answer once they are indexed."""
    for name, given in (("title", form.fields.title), ("uri", form.fields.uri)):
        if given is not None and len(form.files) > 1:
            raise invalid_request([{"path": name, "message": "names one document, and there are several files"}])
    outcomes = await _uploaded(visit, form)
    if all(outcome.outcome != "done" for outcome in outcomes):
        return result_answer(outcomes[0], lambda result: result)
    uploaded = [document["document_id"] for outcome in outcomes if (document := _document(outcome))]
    waited_for = [DocumentId(UUID(cast(str, each))) for each in uploaded] if wait else []
    current = await _indexed(visit, waited_for)
    items = [_item(file, outcome, current) for file, outcome in zip(form.files, outcomes, strict=True)]
    unfinished = any(item.get("status") in UNFINISHED for item in items)
    before = replayed_headers(any(outcome.replayed for outcome in outcomes))
    return json_answer({"items": items}, 201 if wait and not unfinished else 202, {**_place(uploaded), **before})


@router.post(
    "/documents/from-url",
    status_code=202,
    responses={
        **shows(
            or_waits(DOCUMENT),
            status=202,
            description="Queued to be indexed, or waits for a person's approval (`outcome`: waiting)",
            located="The document, where it is taken in",
        ),
        **shows(DOCUMENT, status=201, description="Indexed, with `wait`", located="The document"),
        **BODY_REFUSALS,
        **CALL_REFUSALS,
    },
)
async def from_url(
    visit: Api, arguments: Annotated[Json, Depends(ToolArguments("document_from_url"))], wait: bool = False
) -> Response:
    """Take in a page or a file of the public web. `wait`: answer once it is indexed."""
    outcome = await visit.call("document_from_url", arguments)
    document = _document(outcome)
    if document is None:
        return result_answer(outcome, lambda result: result)
    document_id = cast(str, document["document_id"])
    current = await _indexed(visit, [DocumentId(UUID(document_id))] if wait else [])
    shown = current.get(document_id, document)
    status = 202 if shown["status"] in UNFINISHED else 201
    return result_answer(outcome, lambda _: shown, status, place=lambda _: f"/v1/knowledge/documents/{document_id}")


@router.get("/documents", responses=shows(listed(DOCUMENT)))
async def list_documents(
    visit: Api,
    page: PageAsked,
    engagement_id: EngagementAsked,
    status: DocumentStatus | None = None,
    parent_id: UUID | None = None,
) -> Response:
    """The documents that the caller may see, newest first; `parent_id`: those that came inside of that one."""
    query = DocumentQuery(
        page=page,
        status=status,
        engagement_id=engagement_id,
        parent_id=None if parent_id is None else DocumentId(parent_id),
    )
    async with visit.session() as session:
        return json_answer(page_json(await session.work.knowledge.list(query), document_json))


@router.get("/documents/{document_id:uuid}", responses=shows(DOCUMENT))
async def get_document(visit: Api, document_id: UUID) -> Response:
    """One document, without its text."""
    async with visit.session() as session:
        return json_answer(document_json(await session.work.knowledge.get(DocumentId(document_id))))


@router.delete(
    "/documents/{document_id:uuid}",
    status_code=204,
    responses={204: {"description": "Deleted"}, **WAITING, **CALL_REFUSALS},
)
async def delete_document(visit: Api, document_id: UUID) -> Response:
    """Take a document out of every list, search and read; for some days it can be restored."""
    outcome = await visit.call("document_delete", {"document_id": str(document_id)})
    if outcome.outcome == "done":
        return Response(status_code=204, headers={"X-Call-Id": str(outcome.call_id)})
    return result_answer(outcome, lambda result: result)


@router.post(
    "/documents/{document_id:uuid}/restore",
    status_code=202,
    responses={
        **shows(
            or_waits(DOCUMENT),
            status=202,
            description="Back, and queued to be indexed, or waits for a person's approval (`outcome`: waiting)",
        ),
        **KEY_REFUSALS,
        **CALL_REFUSALS,
    },
)
async def restore_document(visit: Api, document_id: UUID) -> Response:
    """Bring a deleted document back, with all that was deleted along with it."""
    outcome = await visit.call("document_restore", {"document_id": str(document_id)})
    return result_answer(outcome, lambda result: result["document"], 202)


@router.put(
    "/documents/{document_id:uuid}/trust", responses={**shows(DOCUMENT), **WAITING, **BODY_REFUSALS, **CALL_REFUSALS}
)
async def set_document_trust(
    visit: Api,
    document_id: UUID,
    arguments: Annotated[Json, Depends(ToolArguments("document_trust_set", from_path=("document_id",)))],
) -> Response:
    """Say anew whose words a document holds, of all its versions at once."""
    outcome = await visit.call("document_trust_set", {**arguments, "document_id": str(document_id)})
    return result_answer(outcome, lambda result: result["document"])


@router.get("/deleted-documents", responses=shows(listed(DELETED, restore_days=RESTORE_DAYS)))
async def list_deleted_documents(visit: Api, page: PageAsked) -> Response:
    """What was deleted and can be restored, the last deleted first: one's own uploads; to a MANAGER and above, all."""
    async with visit.session() as session:
        sees_all = session.role is not None and session.role.rank >= Role.MANAGER.rank
        query = DeletedQuery(page=page, uploaded_by=None if sees_all else visit.principal.principal_id)
        found = await session.work.knowledge.removals.list(query, visit.hub.clock())
    days = visit.hub.config.current.documents.restore_days
    return json_answer({**page_json(found, deleted_json), "restore_days": days})


@files.get(
    "/documents/{document_id:uuid}/content",
    response_class=Response,
    responses={**FILE, **CALL_REFUSALS},
)
async def document_content(request: Request, visit: Api, document_id: UUID) -> Response:
    """The file of a document as it was uploaded; the record names it by its digest, and what is sent is held to it."""
    outcome = await visit.call("document_content", {"document_id": str(document_id)})
    if outcome.outcome != "done":
        return result_answer(outcome, lambda result: result)
    async with visit.session() as session:
        content = await file_content(session, outcome)
    return await file_answer(request, outcome, content, cast("dict[str, str]", outcome.result)["title"])


async def _uploaded(visit: Visit, form: Upload[UploadFields]) -> Sequence[CallOutcome]:
    """Each file's call, in their order; under one key all of them, or none where it stands for other files."""
    content = "" if visit.key is None else await _digest_of(form.files)
    outcomes: list[CallOutcome] = []
    for number, file in enumerate(form.files):
        outcome = await _upload(visit.part(number, content), file, form.fields)
        if outcome.error is not None and outcome.error.code in KEY_REFUSED:
            raise refused(outcome)
        outcomes.append(outcome)
    return outcomes


async def _digest_of(files: Sequence[UploadFile]) -> str:
    """Of all files' content, in their order: which of them there are is part of what a key stands for."""
    whole = hashlib.sha256()
    for file in files:
        digest = await asyncio.to_thread(hashlib.sha256, await file.read())
        whole.update(digest.digest())
        await file.seek(0)
    return whole.hexdigest()


async def _upload(visit: Visit, file: UploadFile, fields: UploadFields) -> CallOutcome:
    """One file through the gate: the bytes are staged beside the call, whose arguments name them by digest."""
    content = await file.read()
    async with visit.hub.staging.holding(visit.principal, content) as digest:
        arguments: Json = {
            "title": fields.title or _title(file),
            "file_name": _title(file),
            "content_sha256": digest,
            "size_bytes": len(content),
        }
        if file.content_type:
            arguments["media_type"] = file.content_type[:200]
        if fields.uri is not None:
            arguments["uri"] = fields.uri
        if fields.audience is not None:
            arguments["audience"] = fields.audience
        if fields.trust is not None:
            arguments["trust"] = fields.trust
        if fields.language is not None:
            arguments["language"] = fields.language
        if fields.engagement_id is not None:
            arguments["engagement_id"] = str(fields.engagement_id)
        return await visit.call("document_upload", arguments)


async def _indexed(visit: Visit, waited_for: Sequence[DocumentId]) -> Mapping[str, Json]:
    """The documents once none is unfinished any more, or as they stand when the patience ends."""
    if not waited_for:
        return {}
    clock = asyncio.get_running_loop().time
    deadline = clock() + INDEXED_WITHIN_S
    while True:
        async with visit.session() as session:
            documents = [document_json(await session.work.knowledge.get(each)) for each in waited_for]
        if clock() >= deadline or not any(document["status"] in UNFINISHED for document in documents):
            return {cast(str, document["document_id"]): document for document in documents}
        await asyncio.sleep(LOOK_EVERY_S)


def _place(uploaded: Sequence[object]) -> Mapping[str, str]:
    """Where the one document is found; of several, a header cannot say it."""
    return {"Location": f"/v1/knowledge/documents/{uploaded[0]}"} if len(uploaded) == 1 else {}


def _item(file: UploadFile, outcome: CallOutcome, current: Mapping[str, Json]) -> Json:
    """What became of one file."""
    document = _document(outcome)
    if document is None:
        error = {} if outcome.error is None else {"error": error_json(outcome.error)}
        return {"title": _title(file), **refusal_members(outcome), **error}
    document_id = cast(str, document["document_id"])
    unchanged: Json = {"unchanged": True} if (outcome.result or {}).get("unchanged") else {}
    told: Json = {"call_id": str(outcome.call_id), "outcome": outcome.outcome}
    return {**current.get(document_id, document), **unchanged, **told}


def _document(outcome: CallOutcome) -> Json | None:
    return None if outcome.result is None else cast(Json, outcome.result["document"])


def _title(file: UploadFile) -> str:
    """The file's name without a path, whichever system it comes from."""
    return PurePath((file.filename or "").replace("\\", "/")).name[:NAME_LIMIT] or "untitled"
