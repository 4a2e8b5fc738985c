"""Logs: one JSON object a line, from this program's own loggers and from the libraries' alike."""

import logging
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, MutableMapping
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, TextIO, cast, runtime_checkable

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SERVICE = "glow"
QUIET = ("uvicorn.access", "sse_starlette", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp.access", "mcp")
"""Libraries that log each step of theirs; what matters of it stands in the lines of ours."""

log = structlog.get_logger()

Event = MutableMapping[str, object]
_IN_EVERY_LINE: dict[str, object] = {"service": SERVICE}
"""What this process says of itself."""
Raised = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logs(*, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log line, as JSON, to `stream` (standard error: standard output belongs to what a command answers).

    Members: `timestamp`, `level`, `service`, `message`, and where known `requestId`, `orgId`, `engagementId`,
    `conversationId`, `runId`, `callId`, `duration` (ms), `status`.  Source  contract.md, Logs.
    """
    out = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, _to_standard_library],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=[_without_internals, *_RENDER])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def name_in_lines(**known: object) -> None:
    """Let the lines of what is under way, from here on, name what it is found to be about; None is not known."""
    structlog.contextvars.bind_contextvars(**{name: str(value) for name, value in known.items() if value is not None})


def name_process(number: int) -> None:
    """Let every line of this process say which of several that serve together it is (`process`)."""
    _IN_EVERY_LINE["process"] = number


class AccessLog:
    """Middleware: one line for each request once it is answered, a stream's when it ends."""

    def __init__(self, app: ASGIApp, monotonic: Callable[[], float]) -> None:
        self._app = app
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = self._monotonic(), 499

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            duration = round((self._monotonic() - started) * 1000, 3)
            # The path without its query, which may hold what somebody searched for.
            log.info("http.request", method=scope["method"], path=scope["path"], status=status, duration=duration)


@runtime_checkable
class DatabaseError(Protocol):
    """What PostgreSQL's errors carry; their class is for the folders that may import the driver."""

    sqlstate: str | None
    detail: str | None


def _told(exc_info: Raised) -> str:
    """An exception with its traceback, without the rows that PostgreSQL quotes (`Failing row contains ...`)."""
    with _without_rows(exc_info[1]):
        return "".join(traceback.format_exception(*exc_info)).rstrip("\n")


@contextmanager
def _without_rows(raised: BaseException) -> Generator[None]:
    """The database's errors below an exception lack their DETAIL for the length of the block.

    Cut from the text it could not be: what it quotes has as many lines as the document that it is a row of.
    """
    quoting = [(error, error.detail) for error in _all_below(raised) if isinstance(error, DatabaseError)]
    for error, _ in quoting:
        error.detail = None
    try:
        yield
    finally:
        for error, detail in quoting:
            error.detail = detail


def _all_below(raised: BaseException) -> Iterator[BaseException]:
    """The exception, what caused it, and what it was raised in the midst of, each once."""
    waiting, seen = [raised], set[int]()
    while waiting:
        error = waiting.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [each for each in (error.__cause__, error.__context__) if each is not None]
        if isinstance(error, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", error).exceptions


def _renamed(_logger: object, _method: str, event: Event) -> Event:
    event["message"] = event.pop("event", "")
    return event


def _of_service(_logger: object, _method: str, event: Event) -> Event:
    event.update(_IN_EVERY_LINE)
    return event


def _without_internals(_logger: object, _method: str, event: Event) -> Event:
    """Drop what only the formatter needed."""
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


def _json(_logger: object, _method: str, event: Event) -> str:
    """One line; a lone surrogate, which UTF-8 cannot carry, is shown as its escape."""
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        shown = {str(key): str(value).encode("utf-8", "backslashreplace").decode() for key, value in event.items()}
        return orjson.dumps(shown).decode()


_to_standard_library = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
_SHARED: list[structlog.types.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_RENDER: list[structlog.types.Processor] = [
    structlog.processors.ExceptionRenderer(_told),
    _of_service,
    _renamed,
    _json,
]
