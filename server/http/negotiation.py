"""Which of the media types that a route has to offer its reader wants."""

import re
from dataclasses import dataclass

from starlette.requests import Request

from server.problems import Problem

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

_QUALITY = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", re.IGNORECASE)
_RANGE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRange:
    """One entry of an Accept header."""

    media_type: str
    quality: float

    def covers(self, offer: str) -> bool:
        """Whether this entry speaks of the offered type."""
        kind = offer.split("/")[0]
        return self.media_type in (offer, f"{kind}/*", "*/*")

    @property
    def exactness(self) -> int:
        """The more exact entry decides: `text/html` before `text/*` before `*/*`."""
        return 2 - self.media_type.count("*")


def choose(request: Request, *offers: str) -> str:
    """The offer that the reader likes best; the first one where it likes several alike, or says nothing.

    Raises  Problem: 406, none of them.  Source  RFC 9110 12.5.1; an Accept that is none counts as `*/*`.
    """
    ranges = accepted(",".join(request.headers.getlist("accept")))
    best = max(offers, key=lambda offer: quality(ranges, offer))
    if ranges and quality(ranges, best) == 0:
        raise Problem(406, "not_acceptable", f"This answers with {' or '.join(offers)}.")
    return best


def accepted(header: str) -> tuple[MediaRange, ...]:
    """The entries of an Accept header, as far as they are well formed."""
    return tuple(found for part in header.split(",") if (found := _range_of(part)) is not None)


def quality(ranges: tuple[MediaRange, ...], offer: str) -> float:
    """How much the reader likes an offer, 0 to 1."""
    covering = [each for each in ranges if each.covers(offer)]
    return max(covering, key=lambda each: each.exactness).quality if covering else 0.0


def _range_of(part: str) -> MediaRange | None:
    media_type, *parameters = (piece.strip() for piece in part.lower().split(";"))
    if _RANGE.fullmatch(media_type) is None:
        return None
    weights = [found[1] for parameter in parameters if (found := _QUALITY.fullmatch(parameter))]
    return MediaRange(media_type=media_type, quality=float(weights[0]) if weights else 1.0)


async def json_wanted(request: Request) -> None:
    """A dependency of routes that answer with JSON alone.

    Raises  Problem: 406.
    """
    choose(request, JSON)
