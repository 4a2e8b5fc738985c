"""When a job that did not come to its end is taken up again: by the queue, later each time.

What stands in a job's way is mostly not mended by trying (a level of autonomy, a missing service account, a fault of a
tool's), yet nothing may be lost because of it: it is tried for ever, ever more seldom, and every attempt is recorded.
"""

from dataclasses import dataclass
from datetime import timedelta

PAUSES = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1))
"""After the first attempt, the second, ...; the last holds for all that follow."""

MOST_CUT_OFF = 20
"""How often one call that was cut off by a worker that stopped is made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The job is not at its end."""

    after: timedelta | None = None
    """How long it rests; None: as long as its number of attempts says."""

    def pause(self, attempts: int) -> timedelta:
        """How long it rests now. `attempts`: how often it was tried before this time."""
        return PAUSES[min(attempts, len(PAUSES) - 1)] if self.after is None else self.after
