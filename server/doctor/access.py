"""Whether tokens can be signed, and those of an issuer checked."""

from server.doctor.finding import Finding, wrong
from server.home import HomeUnusable
from server.jwks import JwksUnusable, fetch_from, keys_of
from server.settings import Settings, SettingsInvalid


async def issuer_finding(settings: Settings) -> Finding:
    """Whether the issuer's keys can be had."""
    try:
        keys = keys_of(await fetch_from(settings.jwks_url or "")())
    except JwksUnusable as unusable:
        return wrong(
            "issuer", f"its keys cannot be fetched: {unusable}", "mend GLOW_JWKS_URL, or let this machine reach it"
        )
    if not keys:
        says = "it has no key for RS256 or ES256 that may sign"
        return wrong("issuer", says, "use asymmetric signing keys at the issuer, or mend GLOW_JWKS_URL")
    return Finding(part="issuer", state="ok", says=f"{len(keys)} keys of {settings.jwt_issuer}")


def secret_finding(settings: Settings) -> Finding:
    """Whether there is a secret to sign tokens with, where any are signed here."""
    if settings.issuer is not None and settings.jwt_secret is None:
        says = "none are signed here: GLOW_JWT_SECRET is not set, they come from the issuer"
        return Finding(part="tokens", state="note", says=says)
    try:
        settings.signing_secret()
    except SettingsInvalid as invalid:
        return wrong("tokens", invalid.problems[0], "`glow demo` makes one of its own in GLOW_HOME")
    except HomeUnusable as unusable:
        return wrong("tokens", str(unusable), "run as the account that made it")
    return Finding(part="tokens", state="ok", says="there is a secret to sign them with")
