"""What lets us in at Google: a service account or a refresh token, and the access tokens that are given for it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

import jwt
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from domain.backoff import asked_wait_s
from domain.kernel import Clock, utc_now
from knowledge.sources.port import SourceRefused, SourceUnavailable

if TYPE_CHECKING:
    import httpx2

TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
SCOPE: Final = "https://www.googleapis.com/auth/drive.readonly"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_LIVES: Final = timedelta(hours=1)
EARLY: Final = timedelta(minutes=2)
"""So long before its end a token is renewed, so that none ends on its way."""
TIMEOUT_S: Final = 20.0
_MOST_BYTES: Final = 64 * 1024
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def safe_url(url: str) -> str:
    """An address that credentials may be sent to. Raises  ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.fragment or parts.query:
        raise ValueError("not a URL like https://oauth2.googleapis.com/token")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("must be https, unless it is on this machine")
    return url


TokenUrl = Annotated[str, Field(max_length=2000), AfterValidator(safe_url)]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class ServiceAccount(_Kept):
    """A key of a service account, as Google's console hands it out."""

    type: Literal["service_account"]
    client_email: Annotated[str, Field(min_length=3, max_length=300)]
    private_key: SecretStr
    private_key_id: str | None = None
    token_uri: TokenUrl = TOKEN_URL


class AuthorizedUser(_Kept):
    """A person's consent: an OAuth client and the refresh token that it was given."""

    type: Literal["authorized_user"]
    client_id: Annotated[str, Field(min_length=1, max_length=300)]
    client_secret: SecretStr
    refresh_token: SecretStr
    token_uri: TokenUrl = TOKEN_URL


Credentials = ServiceAccount | AuthorizedUser
_CREDENTIALS = TypeAdapter[Credentials](Annotated[Credentials, Field(discriminator="type")])


class CredentialsUnusable(Exception):
    """A document is none of the two kinds of credentials; the words hold nothing of it."""


def credentials_of(document: bytes | str) -> Credentials:
    """What a file of Google's says: of type `service_account` or `authorized_user`.

    Raises  CredentialsUnusable.
    """
    try:
        found = _CREDENTIALS.validate_python(orjson.loads(document))
    except orjson.JSONDecodeError:
        raise CredentialsUnusable("it is not JSON") from None
    except ValidationError as invalid:
        where = ".".join(str(part) for part in invalid.errors(include_input=False)[0]["loc"][-1:]) or "type"
        raise CredentialsUnusable(f"it is no service account's key and no authorized user's: see {where}") from None
    if isinstance(found, ServiceAccount):
        try:
            jwt.encode({}, found.private_key.get_secret_value(), algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError):
            raise CredentialsUnusable("its private_key is none of RSA in PEM") from None
    return found


@dataclass(slots=True)
class AccessTokens:
    """The access token of the moment, renewed before it ends; shared by all that ask with the same credentials."""

    credentials: Credentials = field(repr=False)
    impersonated: str | None = None
    """Whose eyes a service account reads with, where the firm's administrator has let it."""
    clock: Clock = utc_now
    _token: str | None = field(default=None, repr=False)
    _good_until: datetime | None = None
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def account(self) -> str:
        """What tells one account from another; nobody gets in by it."""
        match self.credentials:
            case ServiceAccount() as account:
                return f"{account.client_email} {self.impersonated or ''}"
            case AuthorizedUser() as user:
                return hashlib.sha256(user.refresh_token.get_secret_value().encode()).hexdigest()

    async def token(self, http: httpx2.AsyncClient) -> str:
        """Raises  SourceRefused, SourceUnavailable."""
        async with self._renewing:
            if self._token is None or self._good_until is None or self.clock() >= self._good_until:
                self._token, lives = await self._exchanged(http)
                self._good_until = self.clock() + max(lives - EARLY, lives / 2)
            return self._token

    def refused(self, token: str) -> None:
        """The API takes this one no more."""
        if self._token == token:
            self._token = None

    async def _exchanged(self, http: httpx2.AsyncClient) -> tuple[str, timedelta]:
        status, headers, body = await self._answered(http)
        if status in (429, 500, 502, 503, 504):
            asked = asked_wait_s(headers.get("retry-after"), self.clock())
            raise SourceUnavailable(
                f"Google gives no access token now (HTTP {status})", None if asked is None else timedelta(seconds=asked)
            )
        try:
            told: dict[str, object] = orjson.loads(body)
            if status != 200:
                raise SourceRefused(_refusal(told.get("error"), status))
            token, lives = told["access_token"], told.get("expires_in", 3600)
        except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
            raise SourceRefused(
                f"what answers in the place of Google's tokens is something else (HTTP {status})"
            ) from None
        if not isinstance(token, str) or not isinstance(lives, int) or not 0 < lives <= 86_400:
            raise SourceRefused("what answers in the place of Google's tokens is something else")
        return token, timedelta(seconds=lives)

    async def _answered(self, http: httpx2.AsyncClient) -> tuple[int, httpx2.Headers, bytes]:
        import httpx2

        body = bytearray()
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                http.stream("POST", self.credentials.token_uri, data=self._form()) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise SourceRefused("what answers in the place of Google's tokens is something else")
                return answer.status_code, answer.headers, bytes(body)
        except (TimeoutError, httpx2.HTTPError, OSError):
            # Not the cause: it could hold the form.
            raise SourceUnavailable("Google's token server cannot be reached") from None

    def _form(self) -> dict[str, str]:
        match self.credentials:
            case ServiceAccount() as account:
                return {"grant_type": GRANT, "assertion": self._assertion(account)}
            case AuthorizedUser() as user:
                return {
                    "grant_type": "refresh_token",
                    "client_id": user.client_id,
                    "client_secret": user.client_secret.get_secret_value(),
                    "refresh_token": user.refresh_token.get_secret_value(),
                }

    def _assertion(self, account: ServiceAccount) -> str:
        """Source  RFC 7523; Google's "Using OAuth 2.0 for server to server applications"."""
        now = self.clock()
        claims: dict[str, object] = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + ASSERTION_LIVES,
        }
        if self.impersonated is not None:
            claims["sub"] = self.impersonated
        key_id = {} if account.private_key_id is None else {"kid": account.private_key_id}
        return jwt.encode(claims, account.private_key.get_secret_value(), algorithm="RS256", headers=key_id)


def _refusal(error: object, status: int) -> str:
    match error:
        case "invalid_grant":
            return "Google refuses the credentials: they were withdrawn or are over, or this machine's clock is wrong"
        case "unauthorized_client" | "access_denied":
            return "Google does not let this account read for others: see domain-wide delegation, and its scope"
        case "invalid_client":
            return "Google does not know the credentials"
        case _:
            return f"Google gives no access token (HTTP {status})"
