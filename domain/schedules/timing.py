"""When a schedule is due: a cron expression on the clock of a time zone, daylight saving included."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import ClassVar, Self
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from domain.kernel import DomainError

FIELDS = 5
MOST_COUNTED = 1000


class InvalidCron(DomainError):
    """No cron expression of five fields that ever comes."""

    code: ClassVar[str] = "invalid_cron"

    def __init__(self, why: str) -> None:
        super().__init__(f"cron: {why}; it takes five fields: minute, hour, day of the month, month, day of the week")


class UnknownTimeZone(DomainError):
    """No time zone of the IANA's is named so."""

    code: ClassVar[str] = "unknown_time_zone"

    def __init__(self, name: str) -> None:
        super().__init__(f"time_zone: the IANA knows no time zone {name!r}; one is Europe/Malta, another UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A cron expression that was checked, on the clock of a zone that there is.

    Where clocks go forward, what falls into the hour that is left out is due at its end. Where they go back, a fixed
    time is due once, the first time round; what recurs by `*` or a step goes on through the hour that comes twice.
    """

    cron: str
    time_zone: str

    @classmethod
    def parse(cls, cron: str, time_zone: str, now: datetime) -> Self:
        """What was asked for, where it comes again after now.

        Raises  InvalidCron, UnknownTimeZone.
        """
        if time_zone not in _zones():
            raise UnknownTimeZone(time_zone)
        fields = cron.split()
        if len(fields) > FIELDS:
            raise InvalidCron("it has more than five fields, and nothing is run more often than once a minute")
        timing = cls(cron=" ".join(fields), time_zone=time_zone)
        try:
            timing.after(now)
        except CronSimError as refused:
            raise InvalidCron(str(refused).lower()) from refused
        except StopIteration:
            raise InvalidCron("it names a time that never comes") from None
        return timing

    def after(self, moment: datetime) -> datetime:
        """The first due time after a moment, in UTC."""
        times = CronSim(self.cron, moment.astimezone(ZoneInfo(self.time_zone)))
        # In the hour that comes twice, a time of the first round is found anew from a moment in the second.
        return next(due for time in times if (due := time.astimezone(UTC)) > moment)

    def missed(self, due: datetime, now: datetime) -> int:
        """How many due times came after one that is due, up to now; no more than a thousand are counted."""
        count = 0
        while count < MOST_COUNTED and (due := self.after(due)) <= now:
            count += 1
        return count


@cache
def _zones() -> frozenset[str]:
    """The names are read from a few hundred files: once."""
    return frozenset(available_timezones())
