"""What the carrying of runs is told: how patient it is, and how much it takes on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How patient runs are with processes, readers and shutdown.

    A busy event loop misses a beat or two and is not taken for dead; where it is, that costs a reset of what was half
    said, and nothing else (ADR-0032).
    """

    heartbeat: timedelta = timedelta(seconds=1)
    stale_after: timedelta = timedelta(seconds=5)
    """Without a sign of life for so long, a run's process is taken for dead, and another goes on with the run.

    Longer, by two heartbeats, than a transaction that stands still holds the run's row
    (`server.database.pool.PoolOptions.idle_timeout_s`, which follows from this): no heartbeat is written meanwhile.
    """
    most_lost: int = 3
    """Processes that may be lost with a run one after another; the next closes it as given up. Should that one be lost
    too, it is ended unread."""
    poll: timedelta = timedelta(seconds=2)
    """How often runs that other processes carry are looked at for their followers, should a wake-up be lost."""
    cancel_wait: timedelta = timedelta(seconds=2)
    """How long whoever cancels a run waits to see it ended."""
    grace: timedelta = timedelta(seconds=10)
    """What running runs get to finish at shutdown; then they are handed over."""
    most_of_a_principal: int | Callable[[], int] = 8
    """Runs that one principal may have going in this process."""
    history_limit: int = 200
    """Stored messages that a turn looks back over; the model's window may hold fewer."""
