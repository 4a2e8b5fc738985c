"""What an idempotency key is: a name that a principal gives to one request, bound to what the request said."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import orjson

from domain.kernel import DomainError, Mode

KEPT_FOR = timedelta(hours=24)
LONGEST_KEY = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A key as a door took it in; two routes' keys, or two principals', are two keys though they read the same."""

    route: str
    key: str
    part: int = 0
    """Of a request that asks for several acts: which one."""
    content: str = ""
    """What one act's own arguments do not tell of the whole request."""

    def claim(self, mode: Mode, parsed: object) -> "Claim":
        """The key bound to a request's parsed content: the same however it was spelled."""
        content = orjson.dumps([self.content, parsed], option=orjson.OPT_SORT_KEYS)
        return Claim(key=self, mode=mode, content_digest=hashlib.sha256(content).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A key with the digest of what it was sent with; whose it is, the transaction's context says."""

    key: IdempotencyKey
    mode: Mode
    content_digest: bytes


class KeyMismatch(DomainError):
    """The key stands for another request already."""

    code: ClassVar[str] = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used within the last 24 hours with other content; send another key")


class KeyInProgress(DomainError):
    """The first request under this key has not ended."""

    code: ClassVar[str] = "idempotency_in_progress"

    def __init__(self) -> None:
        super().__init__("the first request with this Idempotency-Key has not ended yet; send it again in a moment")
