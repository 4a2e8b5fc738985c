"""Headers of every answer: what browsers must not do with it, who else's pages may call, what may be kept."""

from collections.abc import Mapping, Sequence

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from server.problems import Problem, problem_response
from server.settings import Network

NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For what is no page: even opened as one, it loads nothing and is framed nowhere. A page brings its own policy."""

DEFAULTS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": NOTHING,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

CORS_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Organization",
    "X-Idempotency-Key",
    "X-Request-Id",
    "traceparent",
    "tracestate",
)


class SecureAnswers:
    """Middleware: sets the defaults wherever an answer does not bring a header of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in DEFAULTS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured)


class CrossOrigin(CORSMiddleware):
    """Answers a browser that asks whether another origin's page may call; a refusal is a problem like any other."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """200 with what is let in, or 400."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        detail = "This origin, method or header is not let in from other origins' pages (GLOW_ALLOWED_ORIGINS)."
        return problem_response(Problem(400, "cross_origin_refused", detail, headers={"Vary": "Origin"}))


def admit_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call; without any, no header says a word of other origins."""
    if origins:
        app.add_middleware(
            CrossOrigin,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=CORS_HEADERS,
            expose_headers=(
                "X-Request-Id",
                "X-Call-Id",
                "Location",
                "Retry-After",
                "WWW-Authenticate",
                "Idempotency-Replayed",
            ),
        )


def believe_proxies(app: FastAPI, networks: Sequence[Network]) -> None:
    """Take the client's address and scheme from X-Forwarded-* where one of these proxies sent it."""
    if networks:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=[str(network) for network in networks])
