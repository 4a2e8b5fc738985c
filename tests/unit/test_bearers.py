"""Tokens of an issuer: each proves something only by a key of the issuer's, by that key's own algorithm."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from domain.kernel import PrincipalId, utc_now
from server.bearers import Bearers, IssuerTokens
from server.jwks import Jwks, KeysUnavailable, fetch_from
from server.tokens import ClaimRules, InvalidToken, Tokens, audiences
from tests.support.issuer import AUDIENCE, ISSUER, Issuer, Key, claims_of, issuing, key, signed

SECRET = "a secret of tests, 32 bytes long or more"
SUBJECT = "0b9c6f0e-6a57-4b5c-9d0a-1f2f3f4f5f6f"
EC, RSA, STRANGER = key("ec"), key("rsa", "RS256"), key("stranger", "RS256")


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing(EC, RSA) as running:
        yield running


@pytest.fixture
async def bearers(issuer: Issuer) -> AsyncIterator[Bearers]:
    keys = Jwks(fetch_from(issuer.url))
    yield bearers_of(keys, SecretStr(SECRET))
    await keys.close()


def bearers_of(keys: Jwks, secret: SecretStr | None) -> Bearers:
    known = audiences(AUDIENCE, "https://hub.example")
    own = Tokens(secret=secret, issuer="glow", audiences=known, organization_claim="org", clock=utc_now)
    rules = ClaimRules(audiences=known, organization_claim="org", clock=utc_now)
    return Bearers(own=own, issued=IssuerTokens(jwks=keys, issuer=ISSUER, rules=rules))


def pem_of(one: Key) -> bytes:
    return one.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def forged(header: dict[str, object], claims: dict[str, object], secret: bytes) -> str:
    """A token put together by hand, which no library would sign so."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    content = b".".join(parts)
    proof = base64.urlsafe_b64encode(hmac.new(secret, content, hashlib.sha256).digest()).rstrip(b"=")
    return b".".join((content, proof)).decode()


@pytest.mark.parametrize("by", [EC, RSA], ids=lambda by: by.kind)
async def test_a_token_of_the_issuer_proves_who_it_is_there(bearers: Bearers, by: Key) -> None:
    credential = await bearers.read(signed(by, SUBJECT))
    assert (credential.issuer, credential.subject, credential.audience) == (ISSUER, SUBJECT, "api")
    assert (credential.organization, credential.by_own_secret) == (None, False)


@pytest.mark.parametrize("subject", ["auth0|5f7c8ec7", "00u1a2b3c4", "eva@firm.example"])
async def test_a_subject_need_not_be_an_id_of_ours(bearers: Bearers, subject: str) -> None:
    credential = await bearers.read(signed(RSA, subject))
    assert (credential.subject, credential.principal_id) == (subject, None)


async def test_own_tokens_count_beside_them_and_only_under_their_own_name(bearers: Bearers) -> None:
    who = PrincipalId(uuid4())
    own = await bearers.read(bearers.own.sign(who, "firm-1", "mcp", timedelta(hours=1)))
    assert (own.principal_id, own.organization, own.by_own_secret) == (who, "firm-1", True)
    with pytest.raises(InvalidToken):
        await bearers.read(jwt.encode(claims_of(str(who)), SECRET, "HS256"))


BAD: dict[str, str] = {
    "signed by nobody": forged({"alg": "none", "typ": "JWT"}, claims_of(SUBJECT), b"").rpartition(".")[0] + ".",
    "signed by nobody, in other letters": forged({"alg": "nOnE", "kid": "rsa"}, claims_of(SUBJECT), b""),
    "HMAC by the public key": forged({"alg": "HS256", "kid": "rsa"}, claims_of(SUBJECT), pem_of(RSA)),
    "HMAC by the public key, as the hub's own": forged(
        {"alg": "HS256", "kid": "rsa"}, claims_of(SUBJECT, iss="glow", aud="api"), pem_of(RSA)
    ),
    "HMAC by the public key, said to be RSA": forged({"alg": "RS256", "kid": "rsa"}, claims_of(SUBJECT), pem_of(RSA)),
    "another hash": jwt.encode(claims_of(SUBJECT), RSA.private, "RS512", {"kid": "rsa"}),
    "another padding": jwt.encode(claims_of(SUBJECT), RSA.private, "PS256", {"kid": "rsa"}),
    "another key under a known name": jwt.encode(claims_of(SUBJECT), STRANGER.private, "RS256", {"kid": "rsa"}),
    "a key that the token brings along": jwt.encode(
        claims_of(SUBJECT), STRANGER.private, "RS256", {"kid": "stranger", "jwk": STRANGER.public, "jku": "http://x/"}
    ),
    "an unknown key": signed(STRANGER, SUBJECT),
    "a key of the other kind": jwt.encode(claims_of(SUBJECT), RSA.private, "RS256", {"kid": "ec"}),
    "another issuer": signed(RSA, SUBJECT, iss="https://evil.example"),
    "an issuer like it": signed(RSA, SUBJECT, iss=f"{ISSUER}/"),
    "no issuer": signed(RSA, SUBJECT, iss=None),
    "two issuers": forged({"alg": "RS256", "kid": "rsa"}, claims_of(SUBJECT, iss=[ISSUER]), b"x"),
    "the hub's own name": signed(RSA, SUBJECT, iss="glow"),
    "another audience": signed(RSA, SUBJECT, aud="another-app"),
    "no audience": signed(RSA, SUBJECT, aud=None),
    "two audiences of ours": signed(RSA, SUBJECT, aud=[AUDIENCE, "mcp"]),
    "no subject": signed(RSA, SUBJECT, sub=None),
    "an empty subject": signed(RSA, ""),
    "a subject that is no line": signed(RSA, "a\nb"),
    "a subject without end": signed(RSA, "a" * 600),
    "no end": signed(RSA, SUBJECT, exp=None),
    "an end in the past": signed(RSA, SUBJECT, exp=int(utc_now().timestamp()) - 1),
    "a time to come": signed(RSA, SUBJECT, nbf=int(utc_now().timestamp()) + 3600),
    "an organization that is no text": signed(RSA, SUBJECT, org=["firm-1"]),
    "a key id that is no text": forged({"alg": "RS256", "kid": 7}, claims_of(SUBJECT), b"x"),
    "a key id without end": jwt.encode(claims_of(SUBJECT), RSA.private, "RS256", {"kid": "k" * 600}),
    "too long": signed(RSA, SUBJECT, spare="x" * 9000),
    "no token": "no.token.at-all",
    "nothing": "",
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
async def test_whatever_is_not_the_issuers_whole_and_in_time_proves_nothing(bearers: Bearers, token: str) -> None:
    with pytest.raises(InvalidToken):
        await bearers.read(token)


async def test_the_public_key_is_no_secret_of_ours_either_where_there_is_none(issuer: Issuer) -> None:
    keys = Jwks(fetch_from(issuer.url))
    alone = bearers_of(keys, None)
    for secret in (b"", pem_of(RSA), b"None"):
        with pytest.raises(InvalidToken):
            await alone.read(forged({"alg": "HS256"}, claims_of(SUBJECT, iss="glow", aud="api"), secret))
    assert (await alone.read(signed(RSA, SUBJECT))).subject == SUBJECT
    await keys.close()


@pytest.mark.parametrize("name", ["signed by nobody", "HMAC by the public key", "another issuer", "another hash"])
async def test_nothing_is_fetched_for_the_sake_of_a_token_that_cannot_count(
    bearers: Bearers, issuer: Issuer, name: str
) -> None:
    with pytest.raises(InvalidToken):
        await bearers.read(BAD[name])
    assert issuer.asked == 0


async def test_an_issuer_whose_clock_is_a_little_ahead_is_believed(bearers: Bearers) -> None:
    soon = int(utc_now().timestamp()) + 20
    assert (await bearers.read(signed(RSA, SUBJECT, iat=soon, nbf=soon))).subject == SUBJECT


async def test_an_issuer_that_is_away_makes_no_token_invalid(bearers: Bearers, issuer: Issuer) -> None:
    issuer.status = 500
    with pytest.raises(KeysUnavailable):
        await bearers.read(signed(RSA, SUBJECT))
