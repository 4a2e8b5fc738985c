"""The time machine: what was decided once is decided again, from the facts recorded with it, by a proposed policy.

It keeps counts and the first differences, so that it takes as much memory for a million calls as for a thousand.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import assert_never

from domain.activity.model import RecordedVerdict
from domain.kernel import Decision
from domain.policies.model import NO_POLICIES, OwnPolicies, OwnPolicy
from tools.outcomes import decision_of
from tools.policy.files import POLICY_ERROR
from tools.policy.older import LacksFacts, could_be, lacking, possible_situations, unseen
from tools.policy.rulebook import Rulebook, firm_digest_of
from tools.policy.situation import Situation
from tools.policy.verdicts import Policies

_FACTS_KEPT = 4096
_SETS_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A verdict as the record keeps it."""

    decision: Decision
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """The verdict hangs on what was not recorded yet."""

    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """The facts are none that policy knows: of a later version, or spoiled."""


Again = Told | Undecided | Unreadable


class Decider:
    """One set of policies, asked about recorded facts; equal facts get equal answers, kept by their text."""

    def __init__(self, policies: Policies, in_force: Policies) -> None:
        """`in_force`: a proposal is held against these where nobody looked at a fact yet."""
        self._policies = policies
        self._in_force = in_force
        self.decide = lru_cache(maxsize=_FACTS_KEPT)(self._decide)

    def _decide(self, facts: str) -> Again:
        try:
            situations = possible_situations(facts)
        except LacksFacts as old:
            return Undecided(lacking=old.members)
        except ValueError:
            return Unreadable()
        told = {_told(self._policies, situation) for situation in situations}
        if len(told) > 1:
            return Undecided(lacking=lacking(facts))
        members = unseen(facts)
        if members and any(self._hangs_on(members, situation) for situation in situations):
            return Undecided(lacking=tuple(sorted((*lacking(facts), *members))))
        return told.pop()

    def _hangs_on(self, members: tuple[str, ...], situation: Situation) -> bool:
        """Whether the verdict hangs on members that nobody looked at then.

        Not where the policies in force say the same of each of their values: nothing that is proposed hangs on them.
        """
        if self._policies.digest == self._in_force.digest:
            return False
        possible = could_be(situation, members)
        told = [_told(self._policies, each) for each in possible]
        return len(set(told)) > 1 and told != [_told(self._in_force, each) for each in possible]


def _told(policies: Policies, situation: Situation) -> Told:
    verdict = policies.decide(situation)
    return Told(decision=decision_of(verdict), reasons=verdict.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One verdict that would be another."""

    recorded: RecordedVerdict
    after: Told
    in_force: Told | None
    """What the policy in force says of it by now, where it was decided under another; None: under this very one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Differences that are counted together."""

    tool: str
    role: str | None
    before: Decision
    after: Decision


@dataclass(slots=True, kw_only=True)
class UnderDigest:
    """What was decided under one set of policies, and how it would be decided now."""

    verdicts: int = 0
    changed: int = 0
    reasons_changed: int = 0
    undecided: int = 0


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a replay has found so far."""

    calls: int = 0
    verdicts: int = 0
    """Those that policy reached: all below but the first two counts are of these."""
    before_policy: int = 0
    """Refused by a door, or since the tool had changed, before policy was asked."""
    without_verdict: int = 0
    """Calls of unknown tools, or whose arguments could not be read."""
    same: int = 0
    changed: int = 0
    reasons_changed: int = 0
    """The same decision, for other reasons."""
    already: int = 0
    """Of both: decided under other policies than those in force, which would decide as the proposed ones."""
    failed: int = 0
    """Of both: the proposed policies could not be evaluated."""
    unreadable: int = 0
    undecided: Counter[tuple[str, ...]] = field(default_factory=Counter[tuple[str, ...]])
    """By the facts that were not recorded yet, and that the verdict hangs on."""
    groups: Counter[Group] = field(default_factory=Counter[Group])
    digests: dict[bytes | None, UnderDigest] = field(default_factory=dict[bytes | None, UnderDigest])
    differences: list[Difference] = field(default_factory=list[Difference])
    """The first ones, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What past calls are decided by: firm-wide policies, and to each call's own set what is to be added or removed."""

    rulebook: Rulebook
    add: OwnPolicy | None = None
    remove: str | None = None

    def policies(self, then: OwnPolicies) -> Policies:
        """The policies for a call that was made while the organization had these of its own."""
        own = then if self.remove is None else then.lacking(self.remove)
        return self.rulebook.of(own if self.add is None else own.having(self.add))


class _Deciders:
    """One decider for each set of the organization's own policies; of a history with many, the last used are kept."""

    def __init__(self, proposal: Proposal, in_force: Proposal) -> None:
        self._proposal = proposal
        self._in_force = in_force
        self._of = lru_cache(maxsize=_SETS_KEPT)(self._decider)

    def _decider(self, then: OwnPolicies) -> Decider:
        return Decider(self._proposal.policies(then), self._in_force.policies(then))

    def decide(self, facts: str, then: OwnPolicies) -> Again:
        return self._of(then).decide(facts)


class Replay:
    """Decides again, one recorded verdict after another."""

    def __init__(self, proposal: Proposal, in_force: Rulebook, *, listed: int) -> None:
        """`listed`: how many differences are kept."""
        self.tally = Tally()
        self.proposal = proposal
        self.in_force = in_force
        by_now = Proposal(rulebook=in_force)
        self._proposed = _Deciders(proposal, by_now)
        self._by_now = _Deciders(by_now, by_now)
        self._listed = listed

    def take(self, recorded: RecordedVerdict, then: OwnPolicies | None = NO_POLICIES) -> None:
        """Decide one again, and count what came of it.

        `then`: the organization's own policies that it was decided by; None: they are not those of any set it had.
        """
        tally = self.tally
        tally.calls += recorded.opens
        if recorded.decision is None:
            tally.without_verdict += 1
        elif recorded.facts == "{}":
            tally.before_policy += 1
        else:
            tally.verdicts += 1
            self._compare(recorded, then, Told(decision=recorded.decision, reasons=recorded.reasons))

    def _compare(self, recorded: RecordedVerdict, then: OwnPolicies | None, before: Told) -> None:
        under = self.tally.digests.setdefault(recorded.policy_digest, UnderDigest())
        under.verdicts += 1
        again = Unreadable() if then is None else self._proposed.decide(recorded.facts, then)
        match again:
            case Told() if again == before:
                self.tally.same += 1
            case Told():
                self._differs(recorded, before, again, under, self._in_force(recorded, then))
            case Undecided():
                under.undecided += 1
                self.tally.undecided[again.lacking] += 1
            case Unreadable():
                under.undecided += 1
                self.tally.unreadable += 1
            case _:
                assert_never(again)

    def _differs(
        self, recorded: RecordedVerdict, before: Told, after: Told, under: UnderDigest, in_force: Told | None
    ) -> None:
        if before.decision == after.decision:
            self.tally.reasons_changed += 1
            under.reasons_changed += 1
        else:
            self.tally.changed += 1
            under.changed += 1
        role = None if recorded.role is None else str(recorded.role)
        group = Group(tool=recorded.tool, role=role, before=before.decision, after=after.decision)
        self.tally.groups[group] += 1
        self.tally.failed += POLICY_ERROR in after.reasons
        self.tally.already += in_force == after
        if len(self.tally.differences) < self._listed:
            self.tally.differences.append(Difference(recorded=recorded, after=after, in_force=in_force))

    def _in_force(self, recorded: RecordedVerdict, then: OwnPolicies | None) -> Told | None:
        if then is None or firm_digest_of(recorded.policy_digest) == self.in_force.firm.digest:
            return None
        again = self._by_now.decide(recorded.facts, then)
        return again if isinstance(again, Told) else None
