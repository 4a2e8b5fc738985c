"""What can go wrong between us and a model provider: which of it is worth another try, and what a reader is told."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, assert_never

from agent.json_values import mapping, text, whole
from agent.model import ModelFailed
from domain.backoff import asked_wait_s, seconds_of

Kind = Literal["status", "connection", "timeout", "interrupted", "protocol"]

_BUSY = frozenset({408, 409, 425, 429})
_NOT_OFFERED = frozenset({501, 505})
"""What no other try changes, though it is the server's own fault."""
_OF_REQUEST = frozenset({400, 413, 422})
"""What is said to this one request, and would be said to it by another model too."""
_STATUS_OF_CODE = {
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "data_residency_mismatch": 400,
    "bio_policy": 400,
    "misalignment_policy_violation": 400,
    "content_policy_violation": 400,
    "content_filter": 400,
    "model_not_found": 404,
    "invalid_api_key": 401,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
}
"""What an error that came as data would have been as a status; every other code is a stream that broke."""
_USED_UP = "insufficient_quota"
"""OpenAI's 429 that no waiting cures."""
_OF_PROVIDER = frozenset({_USED_UP, "invalid_api_key", "model_not_found"})
"""Of the account or the model's name, whatever the status is: some servers say 400."""
_SAFE_CODE = re.compile(r"[a-z_]{3,40}")
_SECRET = re.compile(r"\b(?:sk|pk|key|token)[-_][\w\-.*]{6,}|(?i:bearer)\s+\S+|\b[A-Za-z0-9_\-]{32,}")
_TOO_LONG = re.compile(
    r"(?i)context[ _](?:length|window|size)|maximum context|prompt is too long|too many (?:input )?tokens"
)
_LONGEST_DETAIL = 300


class ProviderFault(Exception):
    """One failed try; its text is for the log, with everything that looks like a secret taken out."""

    def __init__(
        self,
        kind: Kind,
        *,
        detail: str = "",
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.detail = redacted(detail)
        self.status = status
        self.code = code if code is not None and _SAFE_CODE.fullmatch(code) else None
        self.retry_after_s = retry_after_s
        super().__init__(f"{kind} status={status} code={self.code}: {self.detail}")

    @property
    def passing(self) -> bool:
        """True when another try may succeed: the connection failed, or the server is busy or broken."""
        return self.busy if self.kind == "status" else self.kind in ("connection", "interrupted")

    @property
    def busy(self) -> bool:
        """True when the server's status says that it is not this request's fault, and passes."""
        status = self.status or 0
        return (status in _BUSY or (status >= 500 and status not in _NOT_OFFERED)) and self.code != _USED_UP


def redacted(detail: str) -> str:
    """The provider's own words, shortened, without keys: some servers repeat the credential they refuse."""
    return _SECRET.sub("[redacted]", detail)[:_LONGEST_DETAIL]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    code: str
    message: str
    retryable: bool = True
    of_request: bool = False


def model_failed(fault: ProviderFault, *, begun: bool = False) -> ModelFailed:
    """The fault as the loop and the reader learn it: our words and the provider's status, never its body."""
    told = _told(fault)
    return ModelFailed(
        told.code,
        told.message,
        retryable=told.retryable,
        of_request=told.of_request,
        begun=begun,
        wait_s=fault.retry_after_s,
    )


def _told(fault: ProviderFault) -> _Told:
    match fault.kind:
        case "status":
            return _told_of_status(fault)
        case "connection":
            return _Told(code="model_unavailable", message="The model provider cannot be reached.")
        case "timeout":
            return _Told(code="model_timeout", message="The model did not answer in time.")
        case "interrupted":
            return _Told(code="model_interrupted", message="The model's answer broke off.")
        case "protocol":
            return _Told(code="model_protocol", message="The model's answer could not be read.")
        case _:
            assert_never(fault.kind)


def _told_of_status(fault: ProviderFault) -> _Told:
    status = fault.status or 0
    if status == 413 or fault.code == "context_length_exceeded" or (status == 400 and _TOO_LONG.search(fault.detail)):
        message = "The conversation is longer than the model can read."
        return _Told(code="context_too_long", message=message, retryable=False, of_request=True)
    shown = f"HTTP {status}, {fault.code}" if fault.code else f"HTTP {status}"
    if fault.busy or (status >= 500 and fault.code != _USED_UP):
        return _Told(code="model_unavailable", message=f"The model provider is busy or down ({shown}).")
    of_request = status in _OF_REQUEST and fault.code not in _OF_PROVIDER
    return _Told(code="model_rejected", message=_refusal(status, shown), retryable=False, of_request=of_request)


def _refusal(status: int, shown: str) -> str:
    if status in (401, 403):
        return f"The model provider refused our credential ({shown})."
    if status == 404:
        return f"The model provider does not know this model or address ({shown})."
    return f"The model provider refused the request ({shown})."


def fault_of_status(status: int, headers: Mapping[str, str], body: object, now: datetime) -> ProviderFault:
    """An answer other than 200, with what its body says when that is an error object."""
    error = mapping(mapping(body).get("error")) or mapping(body)
    code = text(error.get("code")) or text(error.get("type"))
    detail = text(error.get("message")) or (body if isinstance(body, str) else "")
    return ProviderFault("status", status=status, code=code, detail=detail, retry_after_s=retry_after(headers, now))


def fault_in_stream(error: object) -> ProviderFault:
    """An error that came as data after the 200: with a status of its own, or else the stream is simply broken."""
    said = mapping(error)
    status = whole(said.get("code")) or whole(said.get("status"))
    code, detail = text(said.get("code")) or text(said.get("type")), text(said.get("message")) or text(error)
    if status is not None and 400 <= status <= 599:
        return ProviderFault("status", status=status, code=text(said.get("type")), detail=detail)
    if code in _STATUS_OF_CODE:
        return ProviderFault("status", status=_STATUS_OF_CODE[code], code=code, detail=detail)
    return ProviderFault("interrupted", code=code, detail=detail)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds the server asks us to wait, from `retry-after-ms` or `Retry-After` (seconds or a date); else None.

    Source  RFC 9110 10.2.3; `retry-after-ms` is OpenAI's own.
    """
    milliseconds = seconds_of(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    return asked_wait_s(headers.get("retry-after"), now)
