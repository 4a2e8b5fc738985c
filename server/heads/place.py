"""What every place has that heads are sent to."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.kernel import OrganizationId
from domain.ledger.lines import kept_line
from domain.ledger.model import Head, Key, Rotation


class DeliveryFailed(Exception):
    """A head did not come there; the words hold no secret, nor anything that the other side chose but short codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptHead:
    """A head as it is sent: with its key, and what vouches for that."""

    organization_id: OrganizationId
    slug: str
    head: Head
    key: Key
    rotations: Sequence[Rotation]

    @property
    def name(self) -> str:
        """The same for the same head, another for another history of the same length."""
        said = self.head.statement
        return f"{said.size:016d}-{said.root.hex()[:16]}"

    def line(self) -> bytes:
        """One line of canonical JSON; each verifier takes it, and a file of such, as `--head`."""
        return kept_line(self.slug, self.head, self.key, self.rotations)


class Way(Protocol):
    """How a head gets to a place."""

    @property
    def address(self) -> str:
        """What makes it this place and no other; not for everybody to read."""
        ...

    async def deliver(self, kept: KeptHead) -> None:
        """Once more is as good as once.

        Raises  DeliveryFailed.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place that the operator named."""

    name: str
    way: Way
    organizations: Sequence[str] | None
    """Whose heads go there, by their slugs; None: all."""

    @property
    def place_id(self) -> str:
        """What its state is kept under: a place that moves starts anew."""
        return f"{self.name}:{hashlib.sha256(self.way.address.encode()).hexdigest()[:16]}"
