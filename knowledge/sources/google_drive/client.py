"""Google Drive's API, asked patiently: again where it was only busy, never beyond its bounds of time and size."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError

from domain.backoff import Backoff, asked_wait_s
from domain.kernel import Clock, utc_now
from knowledge.sources.google_drive.tokens import AccessTokens
from knowledge.sources.port import SourceRefused, SourceUnavailable

if TYPE_CHECKING:
    import httpx2

API_URL: Final = "https://www.googleapis.com/drive/v3"
_MOST_JSON_BYTES: Final = 32 * 1024 * 1024
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_BUSY_REASONS: Final = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "backendError", "sharingRateLimitExceeded"}
)
_USED_UP: Final = frozenset({"dailyLimitExceeded", "quotaExceeded"})
_NO_MEMBER: Final = "teamDriveMembershipRequired"
_UNTIL_TOMORROW: Final = timedelta(hours=1)

Said = TypeVar("Said", bound=BaseModel)
Params = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How Drive is asked; seconds."""

    connect_s: float = 10.0
    answer_s: float = 60.0
    """For one answer in JSON."""
    download_s: float = 90.0
    """For one file."""
    tries: int = 5
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=1.0, longest_s=16.0))
    """What Drive asks for beyond the longest is left to whoever syncs."""


USUAL = Manners()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a test replaces."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    clock: Clock = utc_now


class DriveRefused(SourceRefused):
    """Drive says no to one request, for a reason that whoever asked may know what to do with."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(_words(status, reason))
        self.status = status
        self.reason = reason


class DriveFails(SourceUnavailable):
    """Drive fails at one request, however often it is made: at that alone, or at all."""


class TooLarge(Exception):
    """A body is larger than what is taken."""


class _Busy(Exception):
    def __init__(self, why: str, asked_s: float | None = None, *, is_limit: bool = False) -> None:
        super().__init__(why)
        self.asked_s = asked_s
        self.is_limit = is_limit
        """Drive is asked too much, by whatever requests."""


@dataclass(slots=True)
class DriveClient:
    """Asks with the access tokens of one account."""

    http: httpx2.AsyncClient
    tokens: AccessTokens
    api_url: str = API_URL
    manners: Manners = USUAL
    around: Surroundings = Surroundings()

    async def ask(self, answer: type[Said], path: str, params: Params) -> Said:
        """What the API says. Raises  DriveRefused, DriveFails, SourceRefused, SourceUnavailable."""
        try:
            body = await self._patiently(path, params, _MOST_JSON_BYTES, self.manners.answer_s)
            return answer.model_validate(orjson.loads(body))
        except (orjson.JSONDecodeError, ValidationError, TooLarge):
            raise SourceRefused("what answers in the place of Google Drive is something else") from None

    async def download(self, path: str, params: Params, most_bytes: int) -> bytes:
        """A file's bytes. Raises  TooLarge, DriveRefused, DriveFails, SourceRefused, SourceUnavailable."""
        return await self._patiently(path, params, most_bytes, self.manners.download_s)

    async def answers(self) -> bool:
        """Whether Drive answers what is always to be had, asked once. Raises  SourceRefused, SourceUnavailable."""
        token = await self.tokens.token(self.http)
        try:
            await self._asked("about", {"fields": "user"}, token, _MOST_JSON_BYTES, self.manners.connect_s)
        except _Busy:
            return False
        return True

    async def _patiently(self, path: str, params: Params, most_bytes: int, within_s: float) -> bytes:
        renewed = False
        tried = 1
        while True:
            token = await self.tokens.token(self.http)
            try:
                return await self._asked(path, params, token, most_bytes, within_s)
            except DriveRefused as refused:
                if refused.status != 401 or renewed:
                    raise
                renewed = True
                self.tokens.refused(token)
            except _Busy as busy:
                await self._pause(busy, tried)
                tried += 1

    async def _pause(self, busy: _Busy, tried: int) -> None:
        """Raises  SourceUnavailable: it has been asked often enough, or wants to be left alone for longer."""
        backoff = self.manners.backoff
        pause_s = backoff.pause_s(tried, self.around.chance(), asked_s=busy.asked_s)
        if tried >= self.manners.tries or (busy.asked_s or 0) > backoff.longest_s:
            kind = SourceUnavailable if busy.is_limit else DriveFails
            raise kind(f"Google Drive is busy: {busy}", timedelta(seconds=busy.asked_s or pause_s)) from busy
        await self.around.sleep(pause_s)

    async def _asked(self, path: str, params: Params, token: str, most_bytes: int, within_s: float) -> bytes:
        import httpx2

        asked = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in params.items()}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(within_s),
                self.http.stream(
                    "GET", f"{self.api_url}/{path}", params=asked, headers={"Authorization": f"Bearer {token}"}
                ) as answer,
            ):
                most = most_bytes if answer.status_code == 200 else _MOST_JSON_BYTES
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > most:
                        raise TooLarge
                if answer.status_code == 200:
                    return bytes(body)
                raise self._fault(answer.status_code, answer.headers, bytes(body))
        except TimeoutError as late:
            raise _Busy("it took too long") from late
        except (httpx2.HTTPError, OSError) as lost:
            raise _Busy("it cannot be reached") from lost

    def _fault(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        reason = _reason(body)
        if reason in _USED_UP:
            return SourceUnavailable("the day's quota of Google Drive's API is used up", _UNTIL_TOMORROW)
        if status in _BUSY or (status == 403 and reason in _BUSY_REASONS):
            asked = asked_wait_s(headers.get("retry-after"), self.around.clock())
            return _Busy(reason or f"HTTP {status}", asked, is_limit=status in (403, 429))
        return DriveRefused(status, reason)


def _reason(body: bytes) -> str:
    """The first reason that an error names, a word; empty where it names none."""
    try:
        errors = cast("dict[str, dict[str, list[dict[str, object]]]]", orjson.loads(body))["error"]["errors"]
        reason = errors[0]["reason"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return ""
    return reason if isinstance(reason, str) and reason.isascii() and reason.isalnum() and len(reason) < 60 else ""


def _words(status: int, reason: str) -> str:
    said = f"{reason}, HTTP {status}" if reason else f"HTTP {status}"
    if reason == _NO_MEMBER:
        return f"the shared drive is read by its members alone: make the account one of them ({said})"
    match status:
        case 401:
            return f"Google Drive does not take our access token ({said})"
        case 404:
            return f"Google Drive shows us no such folder or shared drive: is it shared with the account? ({said})"
        case 403:
            return f"Google Drive does not let this account read it ({said})"
        case _:
            return f"Google Drive refuses the request ({said})"
