"""A bucket of S3, or of whatever speaks as it does, addressed by its path; each object is named by its digest."""

import asyncio
import html
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from domain.kernel import Clock
from knowledge.model import FileKey
from server.sigv4 import Credentials, signed_headers
from server.storage.fault import StorageUnavailable

TIMEOUT_S = 30.0
"""Of one attempt, the whole file included."""
ATTEMPTS = 3
PAUSE_S = 0.2
"""Before the second attempt; twice as long before each further one."""
LOOKED_WITHIN_S = 3.0
"""Of whether an object is there, all attempts together: whoever takes a document in asks it with a transaction open."""
MOST_BYTES = 256 * 1024 * 1024
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,60})</Code>")
_OBJECT = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)
_KEY = re.compile(rb"<Key>([^<]*)</Key>")
_MODIFIED = re.compile(rb"<LastModified>([^<]*)</LastModified>")
_NEXT = re.compile(rb"<NextContinuationToken>([^<]*)</NextContinuationToken>")
_NAME = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[0-9a-f]{2}/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketStorage:
    """Storage in a bucket. An object is written whole, or not: that is what S3 promises of PUT."""

    endpoint: str
    region: str
    bucket: str
    prefix: str
    credentials: Credentials = field(repr=False)
    clock: Clock
    pause_s: float = PAUSE_S

    @property
    def place(self) -> str:
        return f"s3 {self.endpoint}/{self.bucket}/{self.prefix}"

    async def put(self, key: FileKey, content: bytes) -> None:
        """Raises  StorageUnavailable."""
        await self._asked("PUT", self._path(key), content, fine=(200,))

    async def get(self, key: FileKey) -> bytes | None:
        """Raises  StorageUnavailable."""
        status, body = await self._asked("GET", self._path(key), fine=(200, 404))
        return body if status == 200 else None

    async def has(self, key: FileKey) -> bool:
        """Raises  StorageUnavailable."""
        try:
            async with asyncio.timeout(LOOKED_WITHIN_S):
                status, _ = await self._asked("HEAD", self._path(key), fine=(200, 404))
        except TimeoutError:
            raise StorageUnavailable(f"{self.place}: no answer in time") from None
        return status == 200

    async def delete(self, key: FileKey) -> None:
        """Raises  StorageUnavailable."""
        await self._asked("DELETE", self._path(key), fine=(200, 204, 404))

    async def older(self, than: datetime) -> AsyncIterator[FileKey]:
        """Raises  StorageUnavailable."""
        query = f"list-type=2&prefix={quote(self.prefix, safe='')}"
        following: str | None = ""
        while following is not None:
            _, page = await self._asked("GET", "", query=query + following, fine=(200,))
            for key in self._listed(page, than):
                yield key
            token = _NEXT.search(page)
            following = None if token is None else f"&continuation-token={quote(_text(token), safe='')}"

    def _path(self, key: FileKey) -> str:
        return quote(f"{self.prefix}{key.name}")

    def _listed(self, page: bytes, than: datetime) -> list[FileKey]:
        """Those of ours by their names; what else lies in the bucket is nobody's business here."""
        found: list[FileKey] = []
        for entry in _OBJECT.findall(page):
            name, modified = _KEY.search(entry), _MODIFIED.search(entry)
            if name is None or modified is None or datetime.fromisoformat(_text(modified)) >= than:
                continue
            ours = (
                _NAME.fullmatch(_text(name).removeprefix(self.prefix)) if _text(name).startswith(self.prefix) else None
            )
            if ours is not None:
                found.append(FileKey(organization_id=UUID(ours[1]), digest=bytes.fromhex(ours[2])))
        return found

    async def _asked(
        self, method: str, path: str, content: bytes = b"", *, fine: tuple[int, ...], query: str = ""
    ) -> tuple[int, bytes]:
        """Status and body; what may go better another time is tried again."""
        url = f"{self.endpoint}/{quote(self.bucket)}" + (f"/{path}" if path else "") + (f"?{query}" if query else "")
        fault = StorageUnavailable("not asked")
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.pause_s * 2 ** (attempt - 1))
            try:
                status, body = await self._once(method, url, content)
            except StorageUnavailable as unavailable:
                fault = unavailable
                continue
            if status in fine:
                return status, body
            fault = StorageUnavailable(f"{self.place}: {_refusal(status, body)}")
            if status not in TRY_AGAIN:
                break
        raise fault

    async def _once(self, method: str, url: str, content: bytes) -> tuple[int, bytes]:
        import httpx2

        # Nobody may alter the file on its way: the signature covers its digest.
        kind: Mapping[str, str] = {"Content-Type": "application/octet-stream"} if method == "PUT" else {}
        headers = signed_headers(method, url, kind, content, self.credentials, self.region, self.clock())
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                httpx2.AsyncClient(follow_redirects=False, timeout=TIMEOUT_S) as client,
                client.stream(method, url, headers=headers, content=content) as answer,
            ):
                held = bytearray()
                async for part in answer.aiter_raw():
                    held += part
                    if len(held) > MOST_BYTES:
                        raise StorageUnavailable(f"{self.place}: sends more than a file")
                return answer.status_code, bytes(held)
        except TimeoutError:
            raise StorageUnavailable(f"{self.place}: no answer in time") from None
        except (httpx2.HTTPError, OSError) as broken:
            raise StorageUnavailable(f"{self.place}: cannot be reached ({type(broken).__name__})") from None


def _text(found: re.Match[bytes]) -> str:
    return html.unescape(found[1].decode("utf-8", "replace"))


def _refusal(status: int, body: bytes) -> str:
    code = _CODE.search(body)
    return f"answers with status {status}{f' ({code[1].decode()})' if code else ''}"
