"""Who is who: a Slack user is the member of the firm whose address is the user's own, confirmed e-mail address."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from domain.kernel import Door, Mode, OrganizationId, Principal
from server.database.identities import Member, PostgresIdentities
from server.slack.web import Json, SlackSaysNo, SlackWeb

KEPT_FOR_S = 120.0
KEPT_AT_MOST = 2000
DOOR: Door = "slack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Somebody who is answered with nothing; why is for the log, and never told."""

    why: str


class People:
    """Asks Slack for the address and the database for its owner; what Slack said is remembered for two minutes."""

    def __init__(self, web: SlackWeb, identities: PostgresIdentities, monotonic: Callable[[], float]) -> None:
        self._web = web
        self._identities = identities
        self._monotonic = monotonic
        self._known: OrderedDict[tuple[str, str], tuple[float, str | Stranger]] = OrderedDict()

    async def member(
        self, organization_id: OrganizationId, team_id: str, user_id: str, user_team: str, *, afresh: bool = False
    ) -> Member | Stranger:
        """The person behind a Slack user; `afresh`: whatever is remembered, Slack is asked again.

        Raises  SlackAway.
        """
        if user_team != team_id:
            return Stranger(why="another_workspace")
        address = None if afresh else self._remembered(team_id, user_id)
        if address is None:
            address = await self._asked(team_id, user_id)
            self._remember((team_id, user_id), address)
        return address if isinstance(address, Stranger) else await self._owner(organization_id, address)

    async def reached(self, member: Member, team_id: str) -> str | Stranger:
        """The Slack user whom a member of the firm is, known by the confirmed address as `member` knows it.

        Raises  SlackAway.
        """
        user_id = self._found(team_id, member.email) or await self._looked_up(team_id, member.email)
        if isinstance(user_id, Stranger):
            return user_id
        who = await self.member(member.organization_id, team_id, user_id, team_id)
        if isinstance(who, Stranger):
            return who
        return user_id if who.principal_id == member.principal_id else Stranger(why="another_address")

    async def _looked_up(self, team_id: str, email: str) -> str | Stranger:
        try:
            said = await self._web.read("users.lookupByEmail", email=email)
        except SlackSaysNo as no:
            return Stranger(why=no.code)
        user = said.get("user")
        if not isinstance(user, dict):
            return Stranger(why="no_user")
        user_id = str(cast(Json, user).get("id"))
        self._remember((team_id, user_id), _address(team_id, cast(Json, user)))
        return user_id

    def _found(self, team_id: str, email: str) -> str | None:
        """Whom that address was remembered of."""
        now = self._monotonic()
        held = ((key, until) for key, (until, address) in self._known.items() if address == email and key[0] == team_id)
        return next((user_id for (_, user_id), until in held if until > now), None)

    async def _owner(self, organization_id: OrganizationId, address: str) -> Member | Stranger:
        principal_id = await self._identities.principal_by_email(address)
        if principal_id is None:
            return Stranger(why="unknown_address")
        member = await self._identities.member_of(organization_id, principal_id)
        if member is None:
            return Stranger(why="not_a_member")
        return member if member.kind == "person" else Stranger(why="not_a_person")

    async def _asked(self, team_id: str, user_id: str) -> str | Stranger:
        try:
            said = await self._web.read("users.info", user=user_id)
        except SlackSaysNo as no:
            return Stranger(why=no.code)
        user = said.get("user")
        return _address(team_id, cast(Json, user)) if isinstance(user, dict) else Stranger(why="no_user")

    def _remembered(self, team_id: str, user_id: str) -> str | Stranger | None:
        known = self._known.get((team_id, user_id))
        return known[1] if known is not None and known[0] > self._monotonic() else None

    def _remember(self, key: tuple[str, str], address: str | Stranger) -> None:
        self._known[key] = (self._monotonic() + KEPT_FOR_S, address)
        self._known.move_to_end(key)
        while len(self._known) > KEPT_AT_MOST:
            self._known.popitem(last=False)


def principal_of(member: Member, mode: Mode) -> Principal:
    """The member at this door: an agent where a model chooses the calls, a person where a button was pressed."""
    return Principal(
        organization_id=member.organization_id,
        principal_id=member.principal_id,
        kind=member.kind,
        mode=mode,
        door=DOOR,
    )


BARRED = {
    "deleted": "deactivated",
    "is_bot": "a_bot",
    "is_app_user": "a_bot",
    "is_workflow_bot": "a_bot",
    "is_restricted": "a_guest",
    "is_ultra_restricted": "a_guest",
    "is_stranger": "another_company",
    "is_invited_user": "has_not_joined",
}
"""What Slack may say of a user, and why such a one is a stranger."""


def _address(team_id: str, user: Json) -> str | Stranger:
    for flag, why in BARRED.items():
        # Anything but a plain no, where Slack says the flag at all, is a yes.
        if user.get(flag) not in (None, False):
            return Stranger(why=why)
    if user.get("team_id") != team_id:
        return Stranger(why="another_workspace")
    if user.get("is_email_confirmed") is not True:
        return Stranger(why="address_not_confirmed")
    profile = user.get("profile")
    address = cast(Json, profile).get("email") if isinstance(profile, dict) else None
    return address if isinstance(address, str) and address else Stranger(why="no_address")
