"""An organization's own policies: the set in force, told by its digest, and each change with who, when and why."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NewType
from uuid import UUID

from domain.kernel import PrincipalId
from domain.paging import FIRST_PAGE, PageRequest

PolicyChangeId = NewType("PolicyChangeId", UUID)

POLICIES_KEPT = 50
"""How many policies of its own an organization may have in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPolicy:
    """One policy of the organization's own; whoever made it is in the history."""

    id: str
    """Its `@id`, which is the reason that verdicts give."""
    text: str
    """As it was written, exactly one policy."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnPolicies:
    """The policies of one organization's own that are in force together, by id; known and compared by their digest."""

    policies: tuple[OwnPolicy, ...]

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over ids and texts, each framed by its length, so that no two sets read the same."""
        digest = hashlib.sha256()
        for policy in self.policies:
            for part in (policy.id.encode(), policy.text.encode()):
                digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnPolicies) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def texts(self) -> Mapping[str, str]:
        """The texts by id."""
        return {policy.id: policy.text for policy in self.policies}

    def having(self, policy: OwnPolicy) -> "OwnPolicies":
        """The same with this one, in the place of the one with its id where there is one."""
        return own_policies((*(each for each in self.policies if each.id != policy.id), policy))

    def lacking(self, policy_id: str) -> "OwnPolicies":
        """The same without that one."""
        return own_policies(each for each in self.policies if each.id != policy_id)


def own_policies(policies: Iterable[OwnPolicy]) -> OwnPolicies:
    """The set of these, whatever their order."""
    return OwnPolicies(policies=tuple(sorted(policies, key=lambda policy: policy.id)))


NO_POLICIES = OwnPolicies(policies=())


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadPolicies:
    """A set of which nothing but its digest is known: not to be decided by."""

    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPolicyChange:
    """A change ready to be stored, with the digest of the set that it leaves; None: of no policy at all."""

    change_id: PolicyChangeId
    policy_id: str
    text: str | None
    """None: the policy is in force no more."""
    reason: str
    changed_by: PrincipalId
    changed_at: datetime
    digest: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """One entry of the history; the newest of an id says whether it is in force, and what it reads."""

    change_id: PolicyChangeId
    policy_id: str
    text: str | None
    reason: str
    changed_by: str
    """An e-mail address."""
    changed_at: datetime
    digest: bytes | None
    """Of the set in force from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChangeQuery:
    """Which of the history; None leaves the filter out."""

    page: PageRequest = FIRST_PAGE
    policy_id: str | None = None
