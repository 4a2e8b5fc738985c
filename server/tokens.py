"""Tokens signed with this installation's own secret, and what the claims of any token prove. JWT, HS256."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, cast
from uuid import UUID

import jwt
from pydantic import SecretStr

from domain.identities.model import Identity
from domain.kernel import Clock, PrincipalId

Audience = Literal["api", "mcp", "widget", "service"]
AUDIENCES: tuple[Audience, ...] = ("api", "mcp", "widget", "service")
ALGORITHM = "HS256"
ORIGIN_CLAIM = "glow_origin"
IDENTITY_CLAIM = "glow_identity"
LONGEST_TOKEN = 8192
NO_ORGANIZATION = "the token's organization cannot be read"
END_OF_TIME = 253_402_300_800.0
"""The year 10000, which no calendar here goes beyond."""


class InvalidToken(Exception):
    """The token proves nothing; the words may be shown and hold nothing of the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a valid token proves: who, for which audience, and perhaps in which organization."""

    issuer: str
    subject: str
    principal_id: PrincipalId | None
    """The subject, where it has the form of an id of ours."""
    audience: Audience
    organization: str | None
    """The organization's slug, where the issuer gives one."""
    expires_at: datetime
    origin: str | None = None
    """The only origin whose pages may use it; None: it is bound to no page."""
    rests_on: Identity | None = None
    """The identity whose link it ends with; None: it rests on the membership alone."""
    by_own_secret: bool = True
    """False: an issuer signed it."""

    @property
    def identity(self) -> Identity:
        """What may be linked to a member."""
        return Identity(issuer=self.issuer, subject=self.subject)


class CannotSign(Exception):
    """This installation has no secret of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """What the claims of a token, once its signature is checked, must say and what they come to.

    `audiences` maps what may stand in `aud` to what it counts as: the four words of the contract, the issuer's own
    value for `api`, and this server's `/mcp` address for `mcp`.
    """

    audiences: Mapping[str, Audience]
    organization_claim: str
    clock: Clock

    def credential(self, claims: Mapping[str, object], *, by_own_secret: bool) -> Credential:
        """What the claims prove.

        Raises  InvalidToken: expired, without what is needed, with two of our audiences, or for an organization that
                cannot be read.
        """
        return Credential(
            issuer=cast(str, claims["iss"]),
            subject=cast(str, claims["sub"]),
            principal_id=_principal(claims["sub"]),
            audience=self._audience(claims.get("aud")),
            organization=_found(claims, self.organization_claim.split(".")),
            expires_at=self._end(claims.get("exp")),
            origin=_origin(claims.get(ORIGIN_CLAIM)),
            rests_on=_identity(claims.get(IDENTITY_CLAIM)) if by_own_secret else None,
            by_own_secret=by_own_secret,
        )

    def _end(self, expires: object) -> datetime:
        now = self.clock()
        if not isinstance(expires, int | float) or not now.timestamp() < expires < END_OF_TIME:
            raise InvalidToken("the token has expired")
        return datetime.fromtimestamp(expires, tz=now.tzinfo)

    def _audience(self, claim: object) -> Audience:
        named = cast("list[object]", claim) if isinstance(claim, list) else [claim]
        known: set[Audience] = {
            self.audiences[name] for name in named if isinstance(name, str) and name in self.audiences
        }
        if len(known) != 1:
            raise InvalidToken(
                "the token has no audience of this server" if not known else "the token has two audiences"
            )
        return known.pop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Signs and reads tokens with one secret; without one it does neither."""

    secret: SecretStr | None = field(repr=False)
    issuer: str
    audiences: Mapping[str, Audience]
    organization_claim: str
    clock: Clock

    @property
    def rules(self) -> ClaimRules:
        """What the claims must say."""
        return ClaimRules(audiences=self.audiences, organization_claim=self.organization_claim, clock=self.clock)

    def sign(
        self,
        principal_id: PrincipalId,
        organization: str,
        audience: Audience,
        lifetime: timedelta,
        origin: str | None = None,
        rests_on: Identity | None = None,
    ) -> str:
        """A token for one principal in one organization; with an origin it is of use to that origin's pages alone.

        `rests_on`: the identity whose link to the principal it ends with.
        Raises  CannotSign: there is no secret.
        """
        if self.secret is None:
            raise CannotSign
        now = self.clock()
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": str(principal_id),
            "aud": audience,
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
        }
        if origin is not None:
            claims[ORIGIN_CLAIM] = origin
        if rests_on is not None:
            claims[IDENTITY_CLAIM] = {"iss": rests_on.issuer, "sub": rests_on.subject}
        _place(claims, self.organization_claim.split("."), organization)
        return jwt.encode(claims, self.secret.get_secret_value(), algorithm=ALGORITHM)

    def read(self, token: str) -> Credential:
        """What the token proves.

        Raises  InvalidToken: not ours, not for one of ours, or what `ClaimRules` refuses.
        """
        credential = self.rules.credential(self._verified(token), by_own_secret=True)
        if credential.principal_id is None:
            raise InvalidToken("the token names nobody that is known here")
        return credential

    def _verified(self, token: str) -> Mapping[str, object]:
        if self.secret is None:
            raise InvalidToken("the token is not valid")
        # The time is checked by the rules, against the clock that is passed in; and so is the audience.
        return verified(token, self.secret.get_secret_value(), ALGORITHM, self.issuer)


def verified(
    token: str, key: "str | jwt.PyJWK", algorithm: str, issuer: str, leeway: timedelta = timedelta()
) -> Mapping[str, object]:
    """The claims of a token that this key signed, by this algorithm and no other, for this issuer.

    Raises  InvalidToken.
    """
    if len(token) > LONGEST_TOKEN:
        raise InvalidToken("the token is too long")
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            leeway=leeway,
            options={"require": ["exp", "sub", "aud", "iss"], "verify_aud": False, "verify_exp": False},
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken("the token is not valid") from error


def audiences(own: str | None, public_url: str | None) -> Mapping[str, Audience]:
    """What may stand in `aud`, by what it counts as.

    Source  contract.md, HTTP.
    """
    known: dict[str, Audience] = {name: name for name in AUDIENCES}
    if own is not None:
        known[own] = "api"
    if public_url is not None:
        known[public_url.rstrip("/") + "/mcp"] = "mcp"
    return known


def _principal(subject: object) -> PrincipalId | None:
    try:
        return PrincipalId(UUID(cast(str, subject)))
    except (ValueError, TypeError, AttributeError):
        return None


def _origin(claim: object) -> str | None:
    """Raises  InvalidToken: something else than a text stands there, which must not count as bound to nothing."""
    if claim is not None and not isinstance(claim, str):
        raise InvalidToken("the token's origin cannot be read")
    return claim


def _identity(claim: object) -> Identity | None:
    """Raises  InvalidToken: something else than an identity stands there, which must not count as resting on none."""
    if claim is None:
        return None
    told = cast("dict[str, object]", claim) if isinstance(claim, dict) else {}
    issuer, subject = told.get("iss"), told.get("sub")
    if not isinstance(issuer, str) or not isinstance(subject, str):
        raise InvalidToken("the token's identity cannot be read")
    return Identity(issuer=issuer, subject=subject)


def _place(claims: dict[str, object], path: list[str], value: str) -> None:
    for step in path[:-1]:
        claims = cast("dict[str, object]", claims.setdefault(step, {}))
    claims[path[-1]] = value


def _found(claims: Mapping[str, object], path: list[str]) -> str | None:
    """The claim at the path; None where the issuer gives none.

    Raises  InvalidToken: something else than a text stands there, which must not count as nothing: then the request's
            own header would choose the organization.
    """
    found: object = claims
    for step in path:
        if found is None:
            return None
        found = _member(found, step)
    if found is not None and not isinstance(found, str):
        raise InvalidToken(NO_ORGANIZATION)
    return found


def _member(claim: object, name: str) -> object:
    if not isinstance(claim, dict):
        raise InvalidToken(NO_ORGANIZATION)
    return cast("dict[str, object]", claim).get(name)
