"""What a page of a site says of itself and of others: its links, its own address, and what it asks of robots.

Searched for tag by tag in linear time: the page is a stranger's, and is not parsed here (ADR-0016).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urldefrag, urljoin, urlsplit, urlunsplit

MOST_SCANNED: Final = 2 * 1024 * 1024
MOST_LINKS: Final = 2000
LONGEST: Final = 500
"""What an address may measure to be known again by it."""
_TAG: Final = re.compile(r"<(a|area|link|meta|base)\b([^<>]{0,4000})>", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(
    r"""([A-Za-z-]{1,20})\s{0,9}=\s{0,9}(?:"([^"]{0,2000})"|'([^']{0,2000})'|([^\s"'>]{1,2000}))"""
)
_USUAL_PORT: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a page says."""

    links: tuple[str, ...] = ()
    """Where it leads to, whole addresses, each once and in order; none where it asks that they are not followed."""
    canonical: str | None = None
    """Where it says that it is at home."""
    is_indexed: bool = True
    """Whether it lets itself be taken in."""


def said_by(content: bytes, url: str) -> Said:
    """What an HTML page at this address says."""
    text = _without_comments(content[:MOST_SCANNED].decode("utf-8", "replace"))
    base, canonical = url, None
    wishes: set[str] = set()
    found: dict[str, None] = {}
    for tag, told in _tags(text):
        rel = set(told.get("rel", "").lower().split())
        if tag == "base" and base == url and "href" in told:
            base = normal(told["href"], url) or url
        elif tag == "meta" and told.get("name", "").lower() in ("robots", "prisma-glow"):
            wishes |= {each.strip() for each in told.get("content", "").lower().split(",")}
        elif tag == "link" and "canonical" in rel:
            canonical = canonical or normal(told.get("href", ""), base)
        elif tag in ("a", "area") and "href" in told and "nofollow" not in rel and len(found) < MOST_LINKS:
            leads_to = normal(told["href"], base)
            if leads_to is not None:
                found[leads_to] = None
    follows = not wishes & {"nofollow", "none"}
    return Said(links=tuple(found) if follows else (), canonical=canonical, is_indexed=not wishes & {"noindex", "none"})


def normal(reference: str, base: str = "") -> str | None:
    """A whole address in the one form in which it is compared; None: it is none of http."""
    try:
        parts = urlsplit(urldefrag(urljoin(base, html.unescape(reference).strip()))[0])
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    if parts.scheme not in _USUAL_PORT or not host or parts.username or parts.password or len(reference) > LONGEST:
        return None
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port in (None, _USUAL_PORT[parts.scheme]) else f"{shown}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))


def _without_comments(text: str) -> str:
    """By searching, not by an expression, which a page of beginnings would hold up."""
    kept: list[str] = []
    at = 0
    while (begin := text.find("<!--", at)) >= 0:
        kept.append(text[at:begin])
        end = text.find("-->", begin + 4)
        if end < 0:
            return "".join(kept)
        at = end + 3
    return "".join((*kept, text[at:]))


def _tags(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for tag in _TAG.finditer(text):
        attributes: dict[str, str] = {}
        for name, double, single, bare in _ATTRIBUTE.findall(tag[2]):
            attributes.setdefault(name.lower(), html.unescape(double or single or bare))
        yield tag[1].lower(), attributes
