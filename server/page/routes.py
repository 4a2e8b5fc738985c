"""Serves page and widget: a fixed few files, from the package, under a policy that lets nothing else run."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.problems import not_found

FOLDER = Path(__file__).with_name("assets")
WIDGET = "widget.js"
MEDIA_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    # Where the browser knows them: text becomes HTML by the sanitizer alone, whatever a later change forgets.
    "require-trusted-types-for 'script'",
    "trusted-types dompurify",
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Asked about each time, and only then: an updated server is seen at once.
    "Cache-Control": "no-cache",
}
WIDGET_HEADERS: Mapping[str, str] = {
    # Anybody's page may load the program, which holds nothing of anybody's; what it may then ask is CORS's to say.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "public, max-age=300",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of the page."""

    content: bytes
    packed: bytes
    """The same, gzipped."""
    media_type: str
    digest: str


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page itself."""
    return _answer(request, "index.html", HEADERS)


@router.api_route("/widget.js", methods=["GET", "HEAD"])
async def widget(request: Request) -> Response:
    """The widget, for any site's page."""
    return _answer(request, WIDGET, WIDGET_HEADERS)


@router.api_route("/assets/{name}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str) -> Response:
    """One of the page's files; the name is looked up and never becomes a path."""
    return _answer(request, name, HEADERS)


@cache
def assets() -> Mapping[str, Asset]:
    """Every file by its name, read once."""
    return {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(
        content=content,
        packed=gzip.compress(content, 9, mtime=0),
        media_type=MEDIA_TYPES[path.suffix],
        digest=hashlib.sha256(content).hexdigest()[:20],
    )


def _answer(request: Request, name: str, headers: Mapping[str, str]) -> Response:
    found = assets().get(name)
    if found is None:
        raise not_found("page")
    is_packed = _takes_gzip(request)
    etag = f'"{found.digest}{"-gzip" if is_packed else ""}"'
    tagged = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=tagged)
    if not is_packed:
        return Response(found.content, headers=tagged, media_type=found.media_type)
    return Response(found.packed, headers={**tagged, "Content-Encoding": "gzip"}, media_type=found.media_type)


def _takes_gzip(request: Request) -> bool:
    """Whether the reader says so in as many words; one that would rather not, by a weight, gets it plain."""
    accepted = request.headers.get("accept-encoding", "").lower().replace(" ", "").split(",")
    return "gzip" in accepted
