"""Bearer tokens as requests bring them: of an issuer, checked by its public keys, or of our own secret."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import jwt

from server.jwks import ALGORITHMS, Algorithm, Jwks
from server.tokens import ALGORITHM, LONGEST_TOKEN, ClaimRules, Credential, InvalidToken, Tokens, verified

CLOCKS_DIFFER = timedelta(seconds=30)
"""How far ahead an issuer's clock may be; an expired token is expired all the same."""
LONGEST_NAME = 512
"""Of a subject and of a key's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerTokens:
    """Reads the tokens of one issuer."""

    jwks: Jwks
    issuer: str
    rules: ClaimRules

    async def read(self, token: str) -> Credential:
        """What the token proves.

        Raises  InvalidToken. KeysUnavailable: its key is not known, and the issuer cannot be asked.
        """
        algorithm, kid = self._named(token)
        key = await self.jwks.key(kid, algorithm)
        if key is None:
            raise InvalidToken("the token is not valid")
        claims = verified(token, key, algorithm, self.issuer, CLOCKS_DIFFER)
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_NAME or not subject.isprintable():
            raise InvalidToken("the token names nobody that can be known here")
        return self.rules.credential(claims, by_own_secret=False)

    def _named(self, token: str) -> tuple[Algorithm, str | None]:
        """The algorithm and the key that the token names, before anything is asked for its sake.

        Nothing of it is believed: the key that is found says which algorithm counts.
        """
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS.values() or _issuer(token) != self.issuer:
            raise InvalidToken("the token is not valid")
        if kid is not None and not (isinstance(kid, str) and len(kid) <= LONGEST_NAME):
            raise InvalidToken("the token is not valid")
        return cast(Algorithm, algorithm), kid


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearers:
    """Whatever tokens count here: each kind is checked by its own key and its own algorithm, and by no other."""

    own: Tokens
    issued: IssuerTokens | None

    async def read(self, token: str) -> Credential:
        """What the token proves.

        Raises  InvalidToken. KeysUnavailable.
        """
        if self.issued is None or _header(token).get("alg") == ALGORITHM:
            return self.own.read(token)
        return await self.issued.read(token)


def _header(token: str) -> dict[str, object]:
    if len(token) > LONGEST_TOKEN:
        raise InvalidToken("the token is too long")
    try:
        return cast("dict[str, object]", jwt.get_unverified_header(token))
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken("the token is not valid") from error


def _issuer(token: str) -> object:
    with suppress(jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    return None
