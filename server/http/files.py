"""A file as it leaves: never shown as a page, whole or in part, and held to what the record says is handed out."""

import asyncio
import hashlib
import re
from urllib.parse import quote
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from knowledge.model import DocumentId, FileMissing
from server.database.unit_of_work import Session
from server.http.document import Responses, problems
from server.problems import Problem
from tools.outcomes import CallOutcome, Json

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")

FILE: Responses = {
    200: {"description": "The file as it was uploaded, in its own media type", "content": {"*/*": {}}},
    206: {"description": "The part of it that `Range` asks for", "content": {"*/*": {}}},
    **problems(416),
}


async def file_content(session: Session, outcome: CallOutcome) -> bytes:
    """The bytes that a call allowed.

    Raises  Problem: 502, they are not where files are kept.
    """
    document_id = DocumentId(UUID(str((outcome.result or {})["document_id"])))
    try:
        return (await session.work.knowledge.file(document_id)).content
    except FileMissing as missing:
        raise Problem(502, missing.code, str(missing), extra={"call_id": str(outcome.call_id)}) from missing


async def file_answer(request: Request, outcome: CallOutcome, content: bytes, filename: str) -> Response:
    """The bytes that a call allowed, to be kept: what a document says must not run with this server's rights.

    Raises  Problem: 502, they were altered where they are stored; 416, there is no such part.
    """
    said = outcome.result or {}
    digest = (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
    if digest != said["content_sha256"]:
        detail = "The stored file is not the one that was uploaded, and is not handed out."
        raise Problem(502, "content_differs", detail, extra={"call_id": str(outcome.call_id)})
    etag = f'"{digest}"'
    headers = {
        "Content-Type": str(said["media_type"]),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
        "Referrer-Policy": "no-referrer",
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "X-Call-Id": str(outcome.call_id),
    }
    part = _part(request, etag, len(content))
    if part is None:
        return Response(content, headers=headers)
    if not part:
        detail = f"The file has {len(content)} bytes."
        extra: Json = {"call_id": str(outcome.call_id)}
        whole = {"Content-Range": f"bytes */{len(content)}"}
        raise Problem(416, "range_not_satisfiable", detail, headers=whole, extra=extra)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(content)}"
    return Response(content[part.start : part.stop], status_code=206, headers=headers)


def _part(request: Request, etag: str, size: int) -> range | None:
    """The part of a file that is asked for; None: all of it. Empty: there is no such part.

    Source  RFC 9110 14: several ranges, other units and what cannot be read are answered with the whole.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if asked is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return range(start, stop)
