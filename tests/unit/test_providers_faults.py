"""What a fault becomes for the reader, and what must never be in it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.providers.faults import ProviderFault, fault_of_status, model_failed, redacted, retry_after

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "2", "retry-after-ms": "150"}, 0.15),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e999"}, None),
    ],
)
def test_the_pause_a_server_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("value", ["", "nan", "٣", "9" * 400, "1_0"])
def test_no_odd_header_is_a_number(value: str) -> None:
    assert retry_after({"retry-after": value, "retry-after-ms": value}, NOW) is None


@given(st.text())
def test_no_header_of_a_server_breaks_the_reading_of_it(value: str) -> None:
    seconds = retry_after({"retry-after": value}, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: sk-proj-Zm9vYmFyYmF6.",
        "sk-*****wxyz is wrong",
        "header was Bearer abc.def",
        "key_1234567890abcdef",
        "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg",
    ],
)
def test_no_credential_is_kept_of_what_a_provider_said(said: str) -> None:
    assert "[redacted]" in redacted(said)
    for secret in ("Zm9v", "wxyz", "abc.def", "1234567890"):
        assert secret not in redacted(said)


def test_the_message_is_ours_and_names_only_the_status_and_a_harmless_code() -> None:
    body = {"message": "Incorrect API key provided: sk-abcdefgh123.", "code": "sk-abcdefgh123"}
    failed = model_failed(fault_of_status(401, {}, body, NOW))
    assert (failed.code, failed.message) == (
        "model_rejected",
        "The model provider refused our credential (HTTP 401).",
    )
    named = model_failed(fault_of_status(404, {}, {"error": {"code": "model_not_found"}}, NOW))
    assert named.message.endswith("(HTTP 404, model_not_found).")


@given(status=st.integers(300, 599), body=st.none() | st.text() | st.dictionaries(st.text(), st.text()))
def test_every_status_has_a_failure_whose_words_are_short(status: int, body: object) -> None:
    failed = model_failed(fault_of_status(status, {}, body, NOW))
    assert failed.code in {"model_unavailable", "model_rejected", "context_too_long"}
    assert len(failed.message) < 130


@pytest.mark.parametrize(
    ("fault", "passing"),
    [
        (ProviderFault("connection"), True),
        (ProviderFault("interrupted"), True),
        (ProviderFault("timeout"), False),
        (ProviderFault("protocol"), False),
        (ProviderFault("status", status=429), True),
        (ProviderFault("status", status=429, code="insufficient_quota"), False),
        (ProviderFault("status", status=408), True),
        (ProviderFault("status", status=409), True),
        (ProviderFault("status", status=500), True),
        (ProviderFault("status", status=501), False),
        (ProviderFault("status", status=529), True),
        (ProviderFault("status", status=502), True),
        (ProviderFault("status", status=503), True),
        (ProviderFault("status", status=504), True),
        (ProviderFault("status", status=400), False),
    ],
)
def test_only_what_may_pass_is_tried_again(fault: ProviderFault, passing: bool) -> None:
    assert fault.passing is passing
