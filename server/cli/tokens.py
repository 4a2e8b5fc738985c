"""`glow token`: a bearer token for a member, signed with this installation's secret."""

import re
from datetime import timedelta

import typer

from domain.kernel import utc_now
from server.cli.opening import LOCAL_URL, found_member
from server.cli.printing import say
from server.cli.running import run
from server.database.identities import Member, PostgresIdentities
from server.database.pool import open_pools
from server.database.provision import provided
from server.origins import NotAnOrigin, origin_named
from server.settings import Settings, load_settings
from server.tokens import Audience, Tokens, audiences

LONGEST = timedelta(days=366)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LIFETIME = re.compile(r"([1-9][0-9]{0,8})([smhd])")


def token(organization: str, user: str, audience: Audience, expires: str, origin: str | None) -> None:
    """Print the token and nothing else."""
    lifetime = lifetime_of(expires)
    bound_to = None if origin is None else origin_of_page(origin)
    settings = load_settings()
    signer = signer_of(settings)
    member = run(_member(settings, organization, user))
    say(signer.sign(member.principal_id, member.organization, audience, lifetime, bound_to))


def signer_of(settings: Settings) -> Tokens:
    """What signs this installation's tokens.

    Raises  SettingsInvalid: there is no secret.
    """
    return Tokens(
        secret=settings.signing_secret(),
        issuer=settings.own_issuer,
        audiences=audiences(settings.jwt_audience, settings.public_url or LOCAL_URL),
        organization_claim=settings.jwt_organization_claim,
        clock=utc_now,
    )


def lifetime_of(text: str) -> timedelta:
    """How long "90s", "30m", "1h" or "30d" is.

    Raises  typer.BadParameter: it is none of these, or longer than a year.
    """
    found = _LIFETIME.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time like 90s, 30m, 1h or 30d", param_hint="--expires")
    try:
        lifetime = timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        lifetime = timedelta.max
    if lifetime > LONGEST:
        raise typer.BadParameter("a token holds for a year at most", param_hint="--expires")
    return lifetime


def origin_of_page(text: str) -> str:
    """The origin, as browsers write it.

    Raises  typer.BadParameter: it is none.
    """
    try:
        return origin_named(text)
    except NotAnOrigin as wrong:
        raise typer.BadParameter(f"{wrong}; write it like https://app.example.com", param_hint="--origin") from wrong


async def _member(settings: Settings, organization: str, user: str) -> Member:
    async with provided(settings) as urls, open_pools(urls) as pools:
        return await found_member(PostgresIdentities(pools.app), organization, user)
