"""Puts an organization's own policies in force and takes them back, with who, when and why; whether one is fit to be
one, the engine says before this is called."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from domain.kernel import DomainError, NotFound, PrincipalId
from domain.paging import Page, Position, page_of
from domain.policies.model import (
    POLICIES_KEPT,
    NewPolicyChange,
    OwnPolicies,
    OwnPolicy,
    PolicyChange,
    PolicyChangeId,
    PolicyChangeQuery,
    own_policies,
)
from domain.policies.ports import PolicyRepository


class PolicyNotFound(NotFound):
    """The organization has no such policy in force."""

    code: ClassVar[str] = "policy_not_found"

    def __init__(self, policy_id: str) -> None:
        super().__init__(f"policy_id: no policy of the organization's own has the @id {policy_id}")


class PolicyExists(DomainError):
    """One of that id is in force, and nobody said that it is to be replaced."""

    code: ClassVar[str] = "policy_exists"

    def __init__(self, policy_id: str) -> None:
        super().__init__(
            f"text: a policy with the @id {policy_id} is in force already; say `replace` to put this in its place"
        )


class TooManyPolicies(DomainError):
    """There is room for no other."""

    code: ClassVar[str] = "too_many_policies"

    def __init__(self) -> None:
        super().__init__(f"an organization has at most {POLICIES_KEPT} policies of its own: remove one first")


@dataclass(frozen=True, slots=True)
class PolicyService:
    """Who may change policies is policy's to say, before this is called."""

    policies: PolicyRepository

    async def lock(self) -> None:
        """Let nobody else change a policy of the organization until this transaction ends."""
        await self.policies.lock()

    async def in_force(self) -> OwnPolicies:
        """The set in force."""
        return own_policies(
            OwnPolicy(id=each.policy_id, text=each.text)
            for each in await self.policies.in_force()
            if each.text is not None
        )

    async def listed(self) -> tuple[PolicyChange, ...]:
        """The policies in force, each with who put it there, when and why; by id."""
        return tuple(await self.policies.in_force())

    async def at(self, digest: bytes) -> OwnPolicies | None:
        """The set of that digest, where the organization had one; None also where the texts kept are not its own."""
        found = await self.policies.at(digest)
        return found if found is not None and found.digest == digest else None

    async def history(self, query: PolicyChangeQuery) -> Page[PolicyChange]:
        """What was changed, newest first."""
        return page_of(await self.policies.history(query), query.page, _place)

    async def put(
        self,
        policy: OwnPolicy,
        reason: str,
        *,
        replace: bool,
        change_id: PolicyChangeId,
        by: PrincipalId,
        now: datetime,
    ) -> PolicyChange:
        """Put a policy in force for the next call on, everywhere.

        Effect  writes organization_policies.
        Raises  PolicyExists: there is one of its id, and `replace` is not said. TooManyPolicies.
        """
        await self.policies.lock()
        held = await self.in_force()
        if policy.id in held.texts and not replace:
            raise PolicyExists(policy.id)
        wanted = held.having(policy)
        if len(wanted.policies) > POLICIES_KEPT:
            raise TooManyPolicies
        return await self._change(change_id, policy.id, policy.text, reason, by, now, wanted)

    async def remove(
        self, policy_id: str, reason: str, *, change_id: PolicyChangeId, by: PrincipalId, now: datetime
    ) -> PolicyChange:
        """Take a policy back, for the next call on, everywhere.

        Effect  writes organization_policies.
        Raises  PolicyNotFound.
        """
        await self.policies.lock()
        held = await self.in_force()
        if policy_id not in held.texts:
            raise PolicyNotFound(policy_id)
        return await self._change(change_id, policy_id, None, reason, by, now, held.lacking(policy_id))

    async def _change(
        self,
        change_id: PolicyChangeId,
        policy_id: str,
        text: str | None,
        reason: str,
        by: PrincipalId,
        now: datetime,
        left: OwnPolicies,
    ) -> PolicyChange:
        return await self.policies.add(
            NewPolicyChange(
                change_id=change_id,
                policy_id=policy_id,
                text=text,
                reason=reason,
                changed_by=by,
                changed_at=now,
                digest=left.digest if left.policies else None,
            )
        )


def _place(change: PolicyChange) -> Position:
    return Position(time=change.changed_at, id=change.change_id)
