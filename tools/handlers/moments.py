"""Moments among a tool's arguments: a date, which means its whole day in UTC, or an instant."""

from datetime import date, datetime
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator


def _moment(text: object) -> date | datetime:
    """Told apart by their form: pydantic alone takes a midnight for a whole day, whatever its time zone."""
    written = str(text)
    day = len(written) == len("2026-01-31")
    return date.fromisoformat(written) if day else datetime.fromisoformat(written.upper())


def _written(moment: date | datetime) -> str:
    return moment.isoformat()


Moment = Annotated[date | datetime, PlainValidator(_moment), PlainSerializer(_written)]
