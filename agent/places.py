"""How much of one kind each principal may have under way at once in this process: what keeps one from taking it all."""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

from domain.kernel import Principal


class Places:
    """`most` places for each principal; a number, or what says it anew each time."""

    def __init__(self, most: int | Callable[[], int]) -> None:
        self._most = most
        self._taken: Counter[tuple[UUID, UUID]] = Counter()

    @property
    def most(self) -> int:
        """How many one principal may take."""
        return self._most if isinstance(self._most, int) else self._most()

    def take(self, principal: Principal) -> bool:
        """Take a place, to be left again; False: this principal has taken all of its own."""
        key = (principal.organization_id, principal.principal_id)
        if self._taken[key] >= self.most:
            return False
        self._taken[key] += 1
        return True

    def leave(self, principal: Principal) -> None:
        """Leave a place that was taken."""
        key = (principal.organization_id, principal.principal_id)
        self._taken[key] -= 1
        if self._taken[key] == 0:
            del self._taken[key]
