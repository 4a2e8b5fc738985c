"""Which media type a reader gets, and which marks a request keeps."""

from uuid import UUID

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from server.http.marks import read_marks
from server.http.negotiation import EVENT_STREAM, JSON, choose
from server.problems import Problem

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def asked(accept: str | None) -> Request:
    headers = [] if accept is None else [(b"accept", accept.encode("latin-1"))]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        ("text/event-stream", EVENT_STREAM),
        ("TEXT/EVENT-STREAM", EVENT_STREAM),
        ("text/event-stream, */*;q=0.1", EVENT_STREAM),
        ("application/json;q=0.5, text/event-stream", EVENT_STREAM),
        ("application/json, text/event-stream", JSON),
        ("application/json;q=0, */*", EVENT_STREAM),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("this is no list of media types", JSON),
        (";;;,,,q=", JSON),
        ("\xff\xfe/\x80", JSON),
    ],
)
def test_the_reader_gets_what_it_likes_best(accept: str | None, given: str) -> None:
    assert choose(asked(accept), JSON, EVENT_STREAM) == given


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "*/*;q=0", "text/csv, image/png"])
def test_a_reader_that_takes_none_of_it_is_told_so(accept: str) -> None:
    with pytest.raises(Problem) as refused:
        choose(asked(accept), JSON)

    assert (refused.value.status, refused.value.code) == (406, "not_acceptable")


def made() -> UUID:
    return UUID(int=7)


def test_valid_marks_are_kept() -> None:
    marks = read_marks(Headers({"x-request-id": "req-1", "traceparent": TRACE, "tracestate": "a=1"}), made)

    assert (marks.request_id, marks.traceparent, marks.tracestate) == ("req-1", TRACE, "a=1")
    assert marks.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 129, "a\x7f", "é", "-begins", "a\r\nb"])
def test_a_request_id_that_is_none_is_made_anew(given: str) -> None:
    assert read_marks(Headers({"x-request-id": given}), made).request_id == made().hex


@pytest.mark.parametrize(
    "given",
    ["", "00", TRACE.upper(), f"ff{TRACE[2:]}", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"{TRACE[:36]}{'0' * 16}-01"],
)
def test_an_invalid_trace_is_dropped_with_its_state(given: str) -> None:
    marks = read_marks(Headers({"traceparent": given, "tracestate": "a=1"}), made)

    assert (marks.trace_id, marks.traceparent, marks.tracestate) == (None, None, None)
