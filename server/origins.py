"""Origins of pages, as browsers write them: a widget's token is bound to one, and other sites are let in by theirs."""

from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts on this machine: nobody on the way listens in."""
_PORTS = {"http": 80, "https": 443}


class NotAnOrigin(ValueError):
    """The text names no origin of a page; the words may be shown."""


def origin_of(url: str) -> str:
    """Scheme, host and port of an address as a browser's `Origin` header has them: small letters, no default port.

    Raises  NotAnOrigin: no http or https, no host, or a user and password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NotAnOrigin("this is no address") from error
    if parts.scheme not in _PORTS or not host or parts.username is not None or not url.isascii():
        raise NotAnOrigin("this is no http or https address")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def origin_named(text: str) -> str:
    """The origin that a text is, and nothing beside: no path, no query, no wildcard.

    Raises  NotAnOrigin.
    """
    origin = origin_of(text)
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query or parts.fragment or "*" in origin or any(map(str.isspace, text)):
        raise NotAnOrigin("this is more than an origin")
    return origin
