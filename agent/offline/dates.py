"""Days and periods as people write them; what is no date is not guessed at."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH = r"(?P<month>jan\w*|feb\w*|mar\w*|apr\w*|may|jun\w*|jul\w*|aug\w*|sep\w*|oct\w*|nov\w*|dec\w*)"
_FORMS = (
    re.compile(r"(?P<year>\d{4})-(?P<number>\d{1,2})-(?P<day>\d{1,2})"),
    re.compile(r"(?P<day>\d{1,2})\.\s?(?P<number>\d{1,2})\.\s?(?P<year>\d{4})"),
    re.compile(rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\.?\s+(?:of\s+)?{_MONTH}\.?(?:,?\s+(?P<year>\d{{4}}))?"),
    re.compile(rf"{_MONTH}\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(?P<year>\d{{4}}))?"),
)
_IN_A_WHILE = re.compile(r"in\s+(?P<number>\d{1,3}|an?|one|two|three)\s+(?P<unit>day|week)s?")
_SMALL = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3}
_LAST_DAYS = re.compile(r"(?:last|past)\s+(?P<number>\d{1,3})\s+(?P<unit>day|week)s?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Whole days, both ends included."""

    first: date
    last: date


def read_day(words: str, today: date, *, ahead: bool = True) -> date | None:
    """The day that `words` name, seen from `today`; None when they name none, or one that does not exist.

    A weekday, or a day without its year, is the next one, or with `ahead` false the last one.
    """
    said = re.sub(r"^(?:on|by|until|the)\s+", "", words.strip().lower().rstrip(".!?"))
    near = {"yesterday": -1, "today": 0, "tomorrow": 1, "next week": 7, "in a week": 7}.get(said)
    if near is not None:
        return today + timedelta(days=near)
    other = _month_end(said, today) or _after_a_while(said, today)
    return other or _weekday(said, today, ahead) or _calendar_day(said, today, ahead)


def _weekday(said: str, today: date, ahead: bool) -> date | None:
    name = re.sub(r"^(?:this|next|coming|last)\s+", "", said)
    if name not in _WEEKDAYS:
        return None
    days = (_WEEKDAYS.index(name) - today.weekday() - 1) % 7 + 1
    return today + timedelta(days=days if ahead else days - 7)


def _month_end(said: str, today: date) -> date | None:
    return _month_of(today).last if re.fullmatch(r"end of (?:the |this )?month|month[ -]end", said) else None


def _after_a_while(said: str, today: date) -> date | None:
    found = _IN_A_WHILE.fullmatch(said)
    return today + timedelta(days=_days(found)) if found else None


def _calendar_day(said: str, today: date, ahead: bool) -> date | None:
    for form in _FORMS:
        if found := form.fullmatch(said):
            return _existing(found.groupdict(), today, ahead)
    return None


def _existing(parts: dict[str, str | None], today: date, ahead: bool) -> date | None:
    month = int(parts.get("number") or 0) or _month_number(parts.get("month") or "")
    try:
        day = date(int(parts.get("year") or today.year), month, int(parts["day"] or 0))
        if parts.get("year") or day == today or (day > today) is ahead:
            return day
        return day.replace(year=today.year + (1 if ahead else -1))
    except ValueError:
        return None


def _month_number(name: str) -> int:
    return next((number for number, month in enumerate(_MONTHS, 1) if name[:3] == month), 0)


def _days(found: re.Match[str]) -> int:
    number = found["number"]
    return (_SMALL.get(number) or int(number)) * (7 if found["unit"] == "week" else 1)


def read_period(words: str, today: date) -> Period | None:
    """The period that `words` speak of, anywhere in them; None when they speak of none."""
    said = words.lower()
    if between := _from_to(said, today):
        return between
    if found := _LAST_DAYS.search(said):
        return Period(first=today - timedelta(days=_days(found) - 1), last=today)
    return next((period for name, period in _named(today).items() if name in said), None)


def _from_to(said: str, today: date) -> Period | None:
    if found := re.search(r"(?:from|between)\s+(.{5,30}?)\s+(?:to|until|till|and)\s+(.{5,30})$", said):
        first, last = read_day(found[1], today, ahead=False), read_day(found[2], today, ahead=False)
        return Period(first=first, last=last) if first and last and first <= last else None
    if found := re.search(r"since\s+(.{5,30})$", said):
        first = read_day(found[1], today, ahead=False)
        return Period(first=first, last=today) if first and first <= today else None
    return None


def _named(today: date) -> dict[str, Period]:
    monday = today - timedelta(days=today.weekday())
    month, year = _month_of(today), date(today.year, 1, 1)
    day = timedelta(days=1)
    return {
        "yesterday": Period(first=today - day, last=today - day),
        "today": Period(first=today, last=today),
        "last week": Period(first=monday - 7 * day, last=monday - day),
        "this week": Period(first=monday, last=today),
        "last month": _month_of(month.first - day),
        "this month": Period(first=month.first, last=today),
        "last year": Period(first=date(today.year - 1, 1, 1), last=year - day),
        "this year": Period(first=year, last=today),
    }


def _month_of(day: date) -> Period:
    return Period(first=day.replace(day=1), last=day.replace(day=monthrange(day.year, day.month)[1]))
