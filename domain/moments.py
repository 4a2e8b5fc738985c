"""Days and instants as people give them for a period: a bare date means its whole day, in UTC."""

from datetime import UTC, date, datetime, time, timedelta


def beginning_of(given: date | datetime) -> datetime:
    """The first moment of what was given, in UTC.

    Raises  OverflowError: there is no such moment.
    """
    return _in_utc(given) if isinstance(given, datetime) else datetime.combine(given, time(), UTC)


def end_of(given: date | datetime) -> datetime:
    """The first moment after a day that was given, or the instant itself, in UTC.

    Raises  OverflowError: there is no such moment.
    """
    if isinstance(given, datetime):
        return _in_utc(given)
    return datetime.combine(given + timedelta(days=1), time(), UTC)


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
