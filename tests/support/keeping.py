"""Places that keep heads, on loopback: an S3 that checks each signature itself, and a webhook that does."""

import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION, BUCKET = "eu-central-1", "kept-heads"
WEBHOOK_KEY = bytes(range(32))
WEBHOOK_SECRET = f"whsec_{base64.b64encode(WEBHOOK_KEY).decode()}"
_AUTHORIZATION = re.compile(
    rf"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/(\d{{8}})/{REGION}/s3/aws4_request,"
    r"\s*SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})"
)


class Keeper(ThreadingHTTPServer):
    """What came, in order; and whether it is to refuse."""

    kept: list[tuple[str, bytes]]
    """Path or message id, and body, of what was taken."""
    refuses: tuple[int, bytes] | None = None
    faults: list[str]
    """What was wrong with requests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def objects(self) -> dict[str, bytes]:
        """By their names."""
        return dict(self.kept)


class _Handler(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        body = self._body()
        self._take(_s3_fault(self, body), urlsplit(self.path).path, body)

    def do_POST(self) -> None:
        body = self._body()
        self._take(_webhook_fault(self, body), self.headers["webhook-id"], body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _take(self, fault: str | None, name: str, body: bytes) -> None:
        keeper = self.server
        assert isinstance(keeper, Keeper)
        if fault is not None:
            keeper.faults.append(fault)
            self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        elif keeper.refuses is not None:
            self._answer(*keeper.refuses)
        else:
            keeper.kept.append((name, body))
            self._answer(200, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody looks."""


def _s3_fault(request: BaseHTTPRequestHandler, body: bytes) -> str | None:
    """Reckoned from what came over the wire, by nothing of the hub's."""
    held = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if held is None:
        return "no such authorization"
    day, names, signature = held.groups()
    if not {"host", "x-amz-date", "x-amz-content-sha256", "x-amz-checksum-sha256"} <= set(names.split(";")):
        return "headers are left unsigned"
    digest = hashlib.sha256(body)
    if request.headers["x-amz-content-sha256"] != digest.hexdigest():
        return "another body"
    if request.headers["x-amz-checksum-sha256"] != base64.b64encode(digest.digest()).decode():
        return "another checksum"
    lines = [f"{name}:{request.headers[name].strip()}" for name in names.split(";")]
    canonical = "\n".join((request.command, urlsplit(request.path).path, "", *lines, "", names, digest.hexdigest()))
    scope = f"{day}/{REGION}/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{hashed}"
    key = ("AWS4" + SECRET_ACCESS_KEY).encode()
    for part in (day, REGION, "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return None if key.hex() == signature else "the signature does not match"


def _webhook_fault(request: BaseHTTPRequestHandler, body: bytes) -> str | None:
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(WEBHOOK_KEY, signed, hashlib.sha256).digest()).decode()
    return None if headers["webhook-signature"] == f"v1,{wanted}" else "the signature does not match"


@contextmanager
def keeper() -> Generator[Keeper]:
    """One for the length of the block."""
    with Keeper(("127.0.0.1", 0), _Handler) as server:
        server.kept, server.faults = [], []
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()
