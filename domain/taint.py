"""Taint: whose words something holds and for whom they are meant; it follows into whatever is made of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from domain.kernel import TRUSTS, Audience, EngagementId, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """What the result of a call told."""

    trust: Trust = "internal"
    """Of the least trusted thing in it."""
    firm: bool = False
    """It told something that no client sees."""
    engagements: frozenset[EngagementId] = frozenset()
    """Whose clients see something of it."""

    @property
    def audience(self) -> Audience | None:
        """The narrowest that something in it was meant for; None: it told nothing that is kept from anybody."""
        if self.firm:
            return "firm"
        return "client" if self.engagements else None

    def is_kept_from(self, engagement_id: EngagementId | None) -> bool:
        """Whether the clients of that engagement may not see all of it."""
        return self.firm or bool(self.engagements - {engagement_id})


NOTHING = Taint()
"""Of what holds nothing but the firm's own words, for anybody."""

ANYTHING = Taint(trust="external", firm=True)
"""Of what may hold anybody's words, for anybody."""


def taint_of(trust: Trust, audience: Audience, engagement_id: EngagementId | None) -> Taint:
    """Of one thing: a passage, a document, a task."""
    if audience == "client" and engagement_id is not None:
        return Taint(trust=trust, engagements=frozenset((engagement_id,)))
    return Taint(trust=trust, firm=True)


def joined(taints: Iterable[Taint]) -> Taint:
    """Of what was made of all of these."""
    found = NOTHING
    for taint in taints:
        found = Taint(
            trust=less_trusted(found.trust, taint.trust),
            firm=found.firm or taint.firm,
            engagements=found.engagements | taint.engagements,
        )
    return found


def less_trusted(one: Trust, other: Trust) -> Trust:
    """Of two the one that is trusted less."""
    return one if TRUSTS.index(one) >= TRUSTS.index(other) else other


def parse_taint(told: Mapping[str, object]) -> Taint:
    """What the database says has entered a turn: `{"trust", "firm", "engagements"}`; `{}`: nothing."""
    clients = cast("list[str]", told.get("engagements") or [])
    return Taint(
        trust=cast(Trust, told.get("trust", "internal")),
        firm=told.get("firm") is True,
        engagements=frozenset(EngagementId(UUID(each)) for each in clients),
    )
