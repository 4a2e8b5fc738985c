"""AWS Signature Version 4, of a request whose whole body is at hand.

Source  Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header".
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
_KEPT = "-_.~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Of an account that may write objects."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


def signed_headers(
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    credentials: Credentials,
    region: str,
    at: datetime,
    service: str = "s3",
) -> dict[str, str]:
    """The headers with which the request is sent: those given, all of them signed, and what signing adds.

    The URL's path must be percent-encoded already, and is signed as it stands.
    """
    parts, time = urlsplit(url), at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(content).hexdigest()
    sent = {**headers, "Host": parts.netloc, "X-Amz-Content-Sha256": digest, "X-Amz-Date": time}
    canonical = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    names = ";".join(sorted(canonical))
    request = "\n".join(
        (
            method,
            parts.path or "/",
            _query(parts.query),
            *(f"{name}:{canonical[name]}" for name in sorted(canonical)),
            "",
            names,
            digest,
        )
    )
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join((ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = hmac.digest(_key(credentials, scope), to_sign.encode(), hashlib.sha256).hex()
    credential = f"Credential={credentials.access_key_id}/{scope}"
    sent["Authorization"] = f"{ALGORITHM} {credential},SignedHeaders={names},Signature={signature}"
    return sent


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe=_KEPT)}={quote(value, safe=_KEPT)}" for name, value in pairs))


def _key(credentials: Credentials, scope: str) -> bytes:
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return key
