"""Files that come as multipart/form-data: each within its limit, fields as text, all of them let go afterwards."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic

from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from server.http.bodies import (
    Model,
    faults_of,
    invalid_request,
    refuse_declared,
    require_media_type,
    too_large,
    up_to,
)
from server.http.visits import People
from server.problems import Problem
from server.system_config import UploadLimits

MULTIPART = "multipart/form-data"
MOST_FILES = 20
MOST_FIELDS = 10
FIELD_LIMIT = 10_000
NAME_LIMIT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(Generic[Model]):
    """What came: files, at least one, and the fields beside them."""

    files: tuple[UploadFile, ...]
    fields: Model


class LimitedParser(MultiPartParser):
    """Refuses a file while it comes, not when it has filled the disk."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes], sizes: UploadLimits) -> None:
        super().__init__(headers, stream, max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=FIELD_LIMIT)
        self._file_limit = sizes.file_bytes

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._part_size = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part_size += end - start
        if self._part_size > self._file_limit:
            raise too_large(self._file_limit)
        super().on_part_data(data, start, end)


class UploadBody(Generic[Model]):
    """A dependency that gives the request's files and its fields as `fields`; the files are gone after the answer.

    They are read, within bounds, whoever sends them: whether they may come in is the gate's to say and to record.
    """

    def __init__(self, fields: type[Model]) -> None:
        self.fields = fields

    async def __call__(self, request: Request, visit: People) -> AsyncGenerator[Upload[Model]]:
        """Raises  Problem: 415, 403, 429, 413, 400 `malformed_multipart`, 422."""
        require_media_type(request, MULTIPART)
        with visit.limits.uploading(visit.principal):
            form = await _parsed(request, visit.limits.sizes())
            try:
                yield _checked(form, self.fields)
            finally:
                await form.close()


async def _parsed(request: Request, sizes: UploadLimits) -> FormData:
    refuse_declared(request, sizes.request_bytes)
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise malformed("it names no boundary")
    # The charset that a sender may name is not looked at: fields are UTF-8.
    headers = Headers({"content-type": f'{MULTIPART}; boundary="{boundary.decode("latin-1")}"'})
    try:
        async with aclosing(request.stream()) as body, aclosing(up_to(sizes.request_bytes, body)) as stream:
            return await LimitedParser(headers, stream, sizes).parse()
    except MultiPartException as error:
        raise malformed(error.message) from error
    except ClientDisconnect as gone:
        raise Problem(400, "incomplete_body", "The connection ended before the body did.") from gone


def _checked(form: FormData, model: type[Model]) -> Upload[Model]:
    files, fields = list[UploadFile](), dict[str, str]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if value.filename:
                files.append(value)
        elif name in fields:
            raise invalid_request([{"path": name, "message": "is given twice"}])
        else:
            fields[name] = value
    if not files:
        raise invalid_request([{"path": "file", "message": "there is no file with a name"}])
    try:
        return Upload(files=tuple(files), fields=model.model_validate_strings(fields))
    except ValidationError as error:
        raise invalid_request(faults_of(error)) from error


def malformed(why: str) -> Problem:
    """400: the bytes are no form."""
    return Problem(400, "malformed_multipart", f"The body is not {MULTIPART}: {why}.")
