"""Tokens prove what they say and nothing else: audience, issuer, time, principal, organization."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest
from pydantic import SecretStr

from domain.identities.model import Identity
from domain.kernel import PrincipalId
from server.tokens import Audience, InvalidToken, Tokens, audiences

SECRET = "longer than any algorithm here could ask for, and made up for tests alone"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WHO = PrincipalId(uuid4())


def tokens(
    *, now: datetime = NOW, secret: str = SECRET, issuer: str = "glow", claim: str = "org", own: str | None = None
) -> Tokens:
    return Tokens(
        secret=SecretStr(secret),
        issuer=issuer,
        audiences=audiences(own, "https://hub.example"),
        organization_claim=claim,
        clock=lambda: now,
    )


def signed(**changed: object) -> str:
    claims: dict[str, object] = {
        "iss": "glow",
        "sub": str(WHO),
        "aud": "api",
        "exp": (NOW + timedelta(hours=1)).timestamp(),
        "org": "acme-audit",
    }
    claims.update(changed)
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, SECRET, "HS256")


UNSIGNED = ".".join(["eyJhbGciOiJub25lIn0", signed().split(".")[1], ""])
"""The header says that no algorithm signed it."""


@pytest.mark.parametrize("audience", ["api", "mcp", "widget", "service"])
@pytest.mark.parametrize("claim", ["org", "app_metadata.organization"])
def test_what_is_signed_is_read_back(audience: Audience, claim: str) -> None:
    made = tokens(claim=claim)
    credential = made.read(made.sign(WHO, "acme-audit", audience, timedelta(hours=1)))
    assert credential.principal_id == WHO
    assert credential.audience == audience
    assert credential.organization == "acme-audit"
    assert credential.expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("aud", "counts_as"),
    [
        ("authenticated", "api"),
        ("https://hub.example/mcp", "mcp"),
        (["api", "something-else"], "api"),
        (["api", "authenticated"], "api"),
    ],
)
def test_an_issuers_own_audience_and_this_servers_address_count(aud: object, counts_as: str) -> None:
    assert tokens(own="authenticated").read(signed(aud=aud)).audience == counts_as


@pytest.mark.parametrize(
    "token",
    [
        "",
        "not.a.token",
        "a" * 10_000,
        signed(aud="another-server"),
        signed(aud=["api", "mcp"]),
        signed(aud=["mcp", "widget"]),
        signed(aud=7),
        signed(aud=[]),
        signed(aud=None),
        signed(iss="another-issuer"),
        signed(iss=None),
        signed(sub=None),
        signed(sub="nobody"),
        signed(sub=7),
        signed(exp=None),
        signed(exp=(NOW - timedelta(seconds=1)).timestamp()),
        signed(exp="soon"),
        signed(exp=1e18),
        signed(exp=float("inf")),
        signed(exp=True),
        UNSIGNED,
        jwt.encode({"sub": str(WHO), "aud": "api", "iss": "glow", "exp": 9e9}, SECRET, "HS512"),
        jwt.encode({"sub": str(WHO), "aud": "api", "iss": "glow", "exp": 9e9}, SECRET + "x", "HS256"),
    ],
)
def test_whatever_is_not_ours_whole_and_in_time_proves_nothing(token: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        tokens().read(token)
    assert SECRET not in str(refused.value)


def test_a_token_without_an_organization_leaves_it_open() -> None:
    assert tokens().read(signed(org=None)).organization is None
    assert tokens(claim="app_metadata.organization").read(signed(app_metadata={})).organization is None


@pytest.mark.parametrize("claim", [["borealis-tax"], {"slug": "borealis-tax"}, 7, True, False, 0])
def test_an_organization_that_is_no_text_proves_nothing_rather_than_leaving_it_open(claim: object) -> None:
    with pytest.raises(InvalidToken):
        tokens().read(signed(org=claim))
    with pytest.raises(InvalidToken):
        tokens(claim="app_metadata.organization").read(signed(app_metadata={"organization": claim}))


def test_what_should_hold_the_organization_and_can_hold_nothing_proves_nothing() -> None:
    with pytest.raises(InvalidToken):
        tokens(claim="app_metadata.organization").read(signed(app_metadata=["organization"]))


def test_a_token_ends_at_its_time_to_the_second() -> None:
    token = tokens().sign(WHO, "acme-audit", "api", timedelta(minutes=5))
    assert tokens(now=NOW + timedelta(minutes=5, seconds=-1)).read(token).principal_id == WHO
    with pytest.raises(InvalidToken):
        tokens(now=NOW + timedelta(minutes=5)).read(token)


def test_a_token_says_which_identity_it_rests_on() -> None:
    identity = Identity(issuer="https://issuer.example", subject="eva")
    token = tokens().sign(WHO, "acme-audit", "widget", timedelta(minutes=15), rests_on=identity)
    assert tokens().read(token).rests_on == identity


@pytest.mark.parametrize("odd", ["eva", [], {}, {"iss": "https://issuer.example"}, {"iss": 7, "sub": "eva"}])
def test_a_token_whose_identity_cannot_be_read_is_refused(odd: object) -> None:
    with pytest.raises(InvalidToken, match="identity"):
        tokens().read(signed(glow_identity=odd))
