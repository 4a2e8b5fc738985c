"""A bucket of S3, or of whatever speaks as it does: an object for each head, which no later one takes the place of."""

import base64
import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote

from domain.kernel import Clock
from server.heads.http import Answer, ask
from server.heads.place import DeliveryFailed, KeptHead
from server.sigv4 import Credentials, signed_headers

_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,60})</Code>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket, and the beginning of its objects' names."""

    endpoint: str
    region: str
    bucket: str
    prefix: str
    credentials: Credentials | None
    clock: Clock

    @property
    def address(self) -> str:
        return f"s3 {self.endpoint}/{self.bucket}/{self.prefix}"

    async def deliver(self, kept: KeptHead) -> None:
        """Raises  DeliveryFailed."""
        if self.credentials is None:
            raise DeliveryFailed("GLOW_HEADS_S3_ACCESS_KEY_ID and GLOW_HEADS_S3_SECRET_ACCESS_KEY are not set")
        content = kept.line()
        # Another history of the same length is another object: what was kept is never written over.
        name = f"{self.prefix}{kept.organization_id}/{kept.name}.json"
        url = f"{self.endpoint}/{quote(self.bucket)}/{quote(name)}"
        # A bucket with Object Lock takes nothing without a checksum.
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        headers = {"Content-Type": "application/json", "X-Amz-Checksum-Sha256": checksum}
        signed = signed_headers("PUT", url, headers, content, self.credentials, self.region, self.clock())
        answer = await ask("PUT", url, signed, content)
        if answer.status != 200:
            raise DeliveryFailed(_refusal(answer))


def _refusal(answer: Answer) -> str:
    code = _CODE.search(answer.body)
    return f"answered with status {answer.status}{f' ({code[1].decode()})' if code else ''}"
