"""What keeping a request from being done twice needs of the database."""

from typing import Protocol

from domain.idempotency.model import Claim


class Keys(Protocol):
    """A principal's keys within one transaction: they stand or fall with what else it does."""

    async def claim(self, claim: Claim) -> str | None:
        """Take the key; the answer that was kept under it where it was taken before. Waits a moment for who holds it.

        Raises  KeyMismatch, KeyInProgress.
        """
        ...

    async def found(self, claim: Claim) -> str | None:
        """The answer that was kept under the key, without taking it.

        Raises  KeyMismatch.
        """
        ...

    async def keep(self, claim: Claim, answer: str) -> None:
        """Keep the answer under the key that this transaction took."""
        ...

    async def sight(self) -> str:
        """By what row security shows the principal anything, as of this transaction: its role and its engagements."""
        ...


class KeyExpiry(Protocol):
    """Removes keys across organizations once nobody may rely on them."""

    async def remove_expired(self) -> int:
        """How many were removed, of at most a batch.

        Raises  tools.ports.Unavailable: no database.
        """
        ...
