"""A bucket of S3 on loopback, which checks each signature itself, and fails when it is told to."""

import hashlib
import hmac
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

KEY_ID, SECRET, REGION, BUCKET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1", "files"
LATEST = timedelta(minutes=15)
_AUTHORIZATION = re.compile(
    rf"AWS4-HMAC-SHA256 Credential={KEY_ID}/(\d{{8}})/{REGION}/s3/aws4_request,"
    r"\s*SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})"
)


@dataclass(slots=True)
class Kept:
    """An object, and when it was put."""

    content: bytes
    put_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class FakeBucket(ThreadingHTTPServer):
    """What it holds, what it was asked, and with what it is to answer instead."""

    objects: dict[str, Kept]
    asked: list[str]
    faults: list[str]
    """What was wrong with requests."""
    fails: list[int]
    """Statuses to answer with first."""
    page = 2
    """Names in one answer to a listing."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        bucket = self.server
        assert isinstance(bucket, FakeBucket)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        bucket.asked.append(f"{self.command} {parts.path}")
        fault = _fault(self, body)
        if fault is not None:
            bucket.faults.append(fault)
            self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        elif bucket.fails:
            self._answer(bucket.fails.pop(0), b"<Error><Code>SlowDown</Code></Error>")
        else:
            named, _, name = unquote(parts.path).removeprefix("/").partition("/")
            self._answer(*self._did(bucket, named, name, body, parse_qs(parts.query)))

    def _did(
        self, bucket: FakeBucket, named: str, name: str, body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, bytes]:
        if named != BUCKET:
            return 404, b"<Error><Code>NoSuchBucket</Code></Error>"
        if not name:
            return 200, _listing(bucket, query)
        if self.command == "PUT":
            bucket.objects[name] = Kept(body)
            return 200, b""
        if self.command == "DELETE":
            bucket.objects.pop(name, None)
            return 204, b""
        kept = bucket.objects.get(name)
        return (404, b"<Error><Code>NoSuchKey</Code></Error>") if kept is None else (200, kept.content)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody looks."""


def _listing(bucket: FakeBucket, query: dict[str, list[str]]) -> bytes:
    prefix, behind = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
    names = sorted(name for name in bucket.objects if name.startswith(prefix) and name > behind)
    page = names[: bucket.page]
    entries = "".join(
        f"<Contents><Key>{escape(name)}</Key><LastModified>{_moment(bucket.objects[name])}</LastModified></Contents>"
        for name in page
    )
    more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(names) > len(page) else ""
    return f"<ListBucketResult>{entries}{more}</ListBucketResult>".encode()


def _moment(kept: Kept) -> str:
    return kept.put_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _fault(request: BaseHTTPRequestHandler, body: bytes) -> str | None:
    """Source  Amazon S3 API Reference, "Authenticating Requests"; reckoned from what came over the wire."""
    held = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if held is None:
        return "no such authorization"
    day, names, signature = held.groups()
    if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names.split(";")):
        return "headers are left unsigned"
    digest, date = hashlib.sha256(body).hexdigest(), request.headers["x-amz-date"]
    if request.headers["x-amz-content-sha256"] != digest:
        return "another body"
    said = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(datetime.now(UTC) - said) > LATEST or not date.startswith(day):
        return "another time"
    parts = urlsplit(request.path)
    query = "&".join(sorted(each if "=" in each else f"{each}=" for each in parts.query.split("&") if each))
    lines = [f"{name}:{request.headers[name].strip()}" for name in names.split(";")]
    canonical = "\n".join((request.command, parts.path, query, *lines, "", names, digest))
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in (day, REGION, "s3", "aws4_request", text):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return None if hmac.compare_digest(key.hex(), signature) else "the signature does not match"


@contextmanager
def fake_bucket() -> Generator[FakeBucket]:
    """One for the length of the block."""
    with FakeBucket(("127.0.0.1", 0), _Handler) as server:
        server.objects, server.asked, server.faults, server.fails = {}, [], [], []
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()
