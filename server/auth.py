"""Credentials at the doors of HTTP: a bearer token becomes a caller, and a caller a principal of one door and mode."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from starlette.requests import Request

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
        member = await self._member(credential, wanted)
        caller = Caller(
            member=member,
            audience=credential.audience,
            expires_at=credential.expires_at,
            origin=credential.origin,
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

    async def _members(self, credential: Credential) -> list[Member]:
        """Whoever the credential is, by organization: whom it is linked to there, else who it names itself."""
        named = credential.principal_id
        direct = () if named is None else await self._identities.memberships(named)
        if direct and credential.by_own_secret:
            return list(direct)
        linked = await self._identities.linked(credential.issuer, credential.subject)
        taken = {member.organization_id for member in linked}
        return [*linked, *(member for member in direct if member.organization_id not in taken)]

    async def _member(self, credential: Credential, wanted: str | None) -> Member:
        memberships = await self._members(credential)
        named = credential.organization
        if named is None:
            named = wanted
        elif wanted is not None and wanted != named:
            raise Problem(403, "wrong_organization", "The token is for another organization than the header names.")
        found = [member for member in memberships if named is None or member.organization == named]
        if len(found) == 1:
            return found[0]
        if found:
            raise Problem(400, "organization_required", "You belong to several organizations: send X-Organization.")
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
