"""How long to wait before asking a server again that was busy or away: longer each time, spread by chance."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DIGITS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses between tries, in seconds: `first_s`, doubled each time up to `longest_s`, and any part of that by chance.

    Full jitter: those that a server sent away together do not come back together.
    """

    first_s: float
    longest_s: float

    def pause_s(self, tried: int, chance: float, *, asked_s: float | None = None) -> float:
        """The pause after so many tries, `chance` from 0 to below 1; never sooner than the server asked."""
        grown = min(self.first_s * 2 ** (tried - 1), self.longest_s)
        spread = grown * (1 - chance)
        return spread if asked_s is None else asked_s + spread / 4


def seconds_of(value: str | None) -> float | None:
    """A plain number of seconds, or of anything else that is counted; None: it is none."""
    # Plain digits only: float() would also take "nan" and "inf", which no wait survives.
    return float(value) if value is not None and _DIGITS.fullmatch(value.strip()) else None


def asked_wait_s(value: str | None, now: datetime) -> float | None:
    """Seconds that `Retry-After` asks to wait, written as seconds or as a date; None: it does not say.

    Source  RFC 9110 10.2.3.
    """
    seconds = seconds_of(value)
    return seconds if seconds is not None or value is None else _seconds_until(value, now)


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        at = parsedate_to_datetime(date)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
