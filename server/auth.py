"""Credentials at the doors of HTTP: a bearer token becomes a caller, and a caller a principal of one door and mode."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from starlette.requests import Request

from domain.identities.model import Identity
from domain.kernel import Clock, Door, Mode, Principal
from server.bearers import Bearers
from server.database.identities import Member, PostgresIdentities
from server.jwks import KeysUnavailable
from server.problems import Problem
from server.tokens import Audience, Credential, InvalidToken

ORGANIZATION_HEADER = "x-organization"
KEPT_FOR = timedelta(seconds=30)
KEPT_AT_MOST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a request comes from, as its credential proves; what it may do is the gate's to say."""

    member: Member
    audience: Audience
    expires_at: datetime | None = None
    """None: nothing says when it ends."""
    origin: str | None = None
    """The origin whose pages alone may use the credential."""
    identity: Identity | None = None
    """By whose link the caller is this member; None: the credential names the member itself."""

    def principal(self, door: Door, mode: Mode | Literal["by_credential"] = "by_credential") -> Principal:
        """The principal of one call: an `api` token's own hand is a person, every other credential an agent."""
        if mode == "by_credential":
            own_hand = self.audience in ("api", "widget") and self.member.kind == "person"
            mode = "person" if own_hand else "agent"
        return Principal(
            organization_id=self.member.organization_id,
            principal_id=self.member.principal_id,
            kind=self.member.kind,
            mode=mode,
            door=door,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whom a credential is taken for in one organization."""

    member: Member
    identity: Identity | None
    """By whose link; None: the credential names the member itself."""


class Authenticator:
    """Reads bearer tokens and finds whose they are; what it found it keeps for half a minute.

    The memory is of identity only. Role and level come from the database with the facts of every call.
    """

    def __init__(self, bearers: Bearers, identities: PostgresIdentities, clock: Clock) -> None:
        self._bearers = bearers
        self._identities = identities
        self._clock = clock
        self._known: OrderedDict[tuple[str, str | None], tuple[datetime, Caller]] = OrderedDict()

    async def caller(self, request: Request) -> Caller:
        """The caller of a request.

        Raises  Problem: 401 without a valid token, 403 where it belongs to no organization or the wrong one.
        """
        token, wanted = bearer(request), request.headers.get(ORGANIZATION_HEADER)
        if token is None:
            raise unauthenticated("Send a bearer token.", error=None)
        return await self.caller_of(token, wanted)

    async def caller_of(self, token: str, wanted: str | None) -> Caller:
        """The caller that a token proves, in the organization its claim or the header names."""
        known = self._known.get((token, wanted))
        if known is not None and known[0] > self._clock():
            return known[1]
        credential = await self._read(token)
        standing = await self._standing(credential, wanted)
        caller = Caller(
            member=standing.member,
            audience=credential.audience,
            expires_at=credential.expires_at,
            origin=credential.origin,
            identity=standing.identity,
        )
        self._remember((token, wanted), min(credential.expires_at, self._clock() + KEPT_FOR), caller)
        return caller

    async def _read(self, token: str) -> Credential:
        try:
            return await self._bearers.read(token)
        except InvalidToken as invalid:
            raise unauthenticated(f"{str(invalid).capitalize()}.", error="invalid_token") from invalid
        except KeysUnavailable as away:
            # Not 401: a client would throw a token away that may well be good.
            detail = "The issuer of the token cannot be asked for its keys now; try again."
            headers = {"Retry-After": str(away.retry_after_s)}
            raise Problem(503, "keys_unavailable", detail, headers=headers) from away

    async def _standings(self, credential: Credential) -> list[Standing]:
        """Whoever the credential is, by organization: whom it is linked to there, else who it names itself."""
        if credential.rests_on is not None:
            linked = await self._linked(credential.rests_on)
            return [each for each in linked if each.member.principal_id == credential.principal_id]
        direct = await self._named(credential)
        if direct and credential.by_own_secret:
            return direct
        linked = await self._linked(credential.identity)
        taken = {each.member.organization_id for each in linked}
        return [*linked, *(each for each in direct if each.member.organization_id not in taken)]

    async def _linked(self, identity: Identity) -> list[Standing]:
        found = await self._identities.linked(identity.issuer, identity.subject)
        return [Standing(member=member, identity=identity) for member in found]

    async def _named(self, credential: Credential) -> list[Standing]:
        """The user of the hub whose id is the subject.

        Of an issuer's token only where it names the organization too, as one does that was set up for the hub: subjects
        of any other are of its own making, and that one equals an id of ours says nothing.
        """
        if credential.principal_id is None or not (credential.by_own_secret or credential.organization is not None):
            return []
        found = await self._identities.memberships(credential.principal_id)
        return [Standing(member=member, identity=None) for member in found]

    async def _standing(self, credential: Credential, wanted: str | None) -> Standing:
        """The one that the request names; unnamed, the only one: between two firms' links nothing is guessed."""
        standings = await self._standings(credential)
        named = credential.organization
        if named is None:
            named = wanted
        elif wanted is not None and wanted != named:
            raise Problem(403, "wrong_organization", "The token is for another organization than the header names.")
        found = [each for each in standings if named is None or each.member.organization == named]
        if len(found) == 1:
            return found[0]
        if found:
            # Which these are shows a person also that an organization they know nothing of has linked them.
            extra = {"organizations": [each.member.organization for each in found]}
            detail = "You belong to several organizations: send X-Organization."
            raise Problem(400, "organization_required", detail, extra=extra)
        raise Problem(403, "not_a_member", "The token's holder does not belong to this organization.")

    def _remember(self, key: tuple[str, str | None], until: datetime, caller: Caller) -> None:
        self._known[key] = (until, caller)
        while len(self._known) > KEPT_AT_MOST:
            self._known.popitem(last=False)


def bearer(request: Request) -> str | None:
    """The token of an Authorization header; None: there is none of the Bearer scheme."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def unauthenticated(detail: str, *, error: str | None) -> Problem:
    """401; `error` only where a token came, as RFC 6750 3.1 has it."""
    challenge = "Bearer" if error is None else f'Bearer error="{error}"'
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": challenge})


def wrong_audience(audience: Audience) -> Problem:
    """403: a valid token, for another door."""
    return Problem(403, "wrong_audience", f"A token for `{audience}` does not open this route.")


def wrong_origin(caller: Caller, request: Request, own: str) -> Problem | None:
    """403 where the request does not come from the page that the credential is bound to; None: it may go on.

    `own`: the hub's origin. A page of the hub's own sends no Origin with what it only reads, and the browser says so.
    A widget's token that is bound to no page, as `glow token --for widget` makes it, is of use to no other site's page.
    """
    # A browser sends one; of several it could not be said which a proxy or this server goes by.
    named = request.headers.getlist("origin")
    sent = ", ".join(named) if named else None
    if sent is None and request.headers.get("sec-fetch-site") == "same-origin":
        sent = own
    bound = caller.origin is not None or caller.audience == "widget"
    let_in = (None, own) if caller.origin is None else (caller.origin,)
    if not bound or sent in let_in:
        return None
    return Problem(403, "wrong_origin", "The token is bound to the pages of another origin than this request's.")


def as_agent(principal: Principal) -> Principal:
    """The same principal, its call chosen by a model."""
    return replace(principal, mode="agent")
