"""A fake Google Drive: its API and its token server on loopback, and accounts that see what is shared with them.

What it holds people to is what Google's reference documents; it was written from that, not recorded. Its pages are
small and odd, its feed tells each item once and as it stands now, its listings are no snapshots, and of what an account
sees no more its feed says that it went and nothing else. What lies below a folder that is trashed, shared or moved is
told or not (`tells_below`), since Google promises neither.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from knowledge.sources.google_drive.tokens import GRANT, SCOPE
from tests.support.office import paragraph, word

Json = dict[str, Any]

ROBOT: Final = "robot@acme-audit.iam.gserviceaccount.com"
OWNER: Final = "owner@acme.example"
FOLDER: Final = "application/vnd.google-apps.folder"
NATIVE: Final = "application/vnd.google-apps."
EXPORT_LIMIT: Final = 10 * 1024 * 1024
_CLAUSE: Final = re.compile(r"(mimeType|trashed) (=|!=) ('[^']*'|true|false)|'([^']+)' in parents")
_CAN_SHARE: Final = frozenset({"owner", "writer", "organizer", "fileOrganizer"})


@dataclass(slots=True)
class Grant:
    """Who may read an item, and all below it."""

    type: str
    to: str | None = None
    role: str = "reader"
    more: Json = field(default_factory=dict[str, Any])

    def shown(self) -> Json:
        """As the API has it."""
        name = {"user": "emailAddress", "group": "emailAddress", "domain": "domain"}.get(self.type)
        return {"id": f"{self.type}:{self.to}", "type": self.type, "role": self.role, **self.more} | (
            {name: self.to} if name else {}
        )


@dataclass(slots=True)
class Item:
    """A file, a folder, or what a shared drive is to the API: the folder at its top."""

    id: str
    name: str
    mime: str
    parent: str | None
    content: bytes = b""
    grants: list[Grant] = field(default_factory=list[Grant])
    trashed: bool = False
    version: int = 1
    limited: bool = False
    """Nothing is inherited (folders only)."""
    exported_bytes: int = 0
    """How large Google would export it; 0: as large as its content."""
    withheld: bool = False
    """Its owner lets nobody download it."""


class Refused(Exception):
    """An error as the API words it."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


class FakeDrive:
    """What there is, and what became of it; `url` and `token_url` are where it answers."""

    def __init__(self, *, page: int = 7, tells_below: bool = False) -> None:
        self.items: dict[str, Item] = {}
        self.page = page
        """At most so many to a page, whatever is asked for."""
        self.tells_below = tells_below
        self.token_lives_s = 3600
        self.uses_of_a_token = 1_000_000
        self.every: dict[int, Refused] = {}
        """What each n-th request is answered with: rate limits as they come."""
        self.faults: deque[Refused] = deque()
        """What the next requests are answered with."""
        self.before: Callable[[str], None] = lambda path: None
        """Happens before a request is answered: what people do meanwhile."""
        self.fails: dict[str, int] = {}
        """The status that the download of a file is answered with."""
        self.asked: list[str] = []
        """The paths of the requests that came in, with their queries."""
        self.refresh_tokens: dict[str, str] = {"1//refresh": OWNER, "1//robot": ROBOT}
        self.may_impersonate = False
        self.forgets_below = 0
        """Page tokens of changes older than this one are known no more."""
        self.forgets_listings = False
        self.url = self.token_url = ""
        self._changed: dict[str, int] = {}
        self._been: dict[str, set[str | None]] = {}
        """The drives that items were ever in; None: no shared one."""
        self._now = 0
        self._ids = 0
        self._tokens: dict[str, tuple[str, int]] = {}
        self._count = 0
        self._lock = threading.RLock()

    # What people do.

    def add(self, name: str, parent: str | None, content: bytes = b"", *, mime: str = "text/plain", item_id: str = "",
            grants: Sequence[Grant] = ()) -> str:  # fmt: skip
        """A new item; its id."""
        with self._lock:
            self._ids += 1
            item_id = item_id or "1" + urlsafe_b64encode(md5(str(self._ids).encode()).digest()).decode()[:22]
            self.items[item_id] = Item(item_id, name, mime, parent, content, list(grants))
            self._tell(item_id)
            return item_id

    def folder(self, name: str, parent: str | None, grants: Sequence[Grant] = (), item_id: str = "") -> str:
        """A new folder; its id."""
        return self.add(name, parent, mime=FOLDER, grants=grants, item_id=item_id)

    def write(self, item_id: str, content: bytes) -> None:
        """Other content."""
        self._do(item_id, content=content)

    def rename(self, item_id: str, name: str) -> None:
        """Another name."""
        self._do(item_id, name=name)

    def move(self, item_id: str, parent: str) -> None:
        """Into another folder, with what is below it."""
        with self._lock:
            self._tell(item_id, below=True)
            self._do(item_id, below=True, parent=parent)

    def trash(self, item_id: str, *, trashed: bool = True) -> None:
        """Into the trash or out of it, with what is below it."""
        self._do(item_id, below=True, trashed=trashed)

    def grant(self, item_id: str, grants: Sequence[Grant]) -> None:
        """Who may read it, and what is below it, from now on."""
        with self._lock:
            self._tell(item_id, below=True)
            self._do(item_id, below=True, grants=list(grants))

    def limit(self, item_id: str, *, limited: bool = True) -> None:
        """Whether a folder inherits nothing."""
        self._do(item_id, below=True, limited=limited)

    def delete(self, item_id: str) -> None:
        """For good, with what is below it."""
        with self._lock:
            gone = [item_id, *self.below(item_id)]
            self._tell(item_id, below=True)
            for each in gone:
                del self.items[each]

    def below(self, folder_id: str) -> list[str]:
        """All that lies in a folder, however deep."""
        within: dict[str | None, list[str]] = {}
        for item in self.items.values():
            within.setdefault(item.parent, []).append(item.id)
        found: list[str] = []
        waiting = [folder_id]
        while waiting:
            inner = within.get(waiting.pop(), [])
            found += inner
            waiting += inner
        return found

    def _do(self, item_id: str, *, below: bool = False, **changes: Any) -> None:
        with self._lock:
            item = self.items[item_id]
            for name, value in changes.items():
                setattr(item, name, value)
            item.version += 1
            self._tell(item_id, below=below)

    def _tell(self, item_id: str, *, below: bool = False) -> None:
        inner = self.below(item_id) if below else []
        for each in (item_id, *inner):
            self._been.setdefault(each, set()).add(self.drive_of(each))
        for each in (item_id, *(inner if self.tells_below else [])):
            self._now += 1
            self._changed[each] = self._now

    # What is so.

    def chain(self, item_id: str) -> Iterator[Item]:
        """An item and those that it lies in, from itself up."""
        at: str | None = item_id
        while at is not None and at in self.items:
            yield self.items[at]
            at = self.items[at].parent

    def grants_of(self, item_id: str) -> list[Grant]:
        """Its own and those that it inherits."""
        found: list[Grant] = []
        for item in self.chain(item_id):
            found += item.grants
            if item.limited:
                break
        return found

    def is_trashed(self, item_id: str) -> bool:
        """Itself, or with a folder above it."""
        return any(item.trashed for item in self.chain(item_id))

    def role_of(self, account: str, item_id: str) -> str | None:
        """What an account is to an item; None: it sees nothing of it."""
        roles = {g.role for g in self.grants_of(item_id) if g.type == "user" and g.to == account and _holds(g)}
        return next((role for role in ("owner", "organizer", "fileOrganizer", "writer", "commenter", "reader")
                     if role in roles), None)  # fmt: skip

    def drive_of(self, item_id: str) -> str | None:
        """The shared drive that it lies in."""
        top = list(self.chain(item_id))[-1]
        return top.id if top.id.startswith("0A") else None

    def path_of(self, item_id: str, root: str) -> str | None:
        """Its place below a folder; None: it lies elsewhere."""
        names: list[str] = []
        for item in self.chain(item_id):
            if item.id == root:
                return "/".join(names[::-1])
            names.append(item.name)
        return None

    def readable(self, root: str) -> dict[str, tuple[str, frozenset[str], bytes]]:
        """What a reader should know of all below a folder: path, e-mail addresses, content, by id."""
        return {
            item.id: (path, frozenset(g.to for g in self.grants_of(item.id) if g.type == "user" and g.to and _holds(g)),
                      item.content)
            for item in self.items.values()
            if not item.mime.startswith(NATIVE) and not self.is_trashed(item.id)
            and self.role_of(ROBOT, item.id) is not None and (path := self.path_of(item.id, root)) is not None
        }  # fmt: skip

    # What is asked.

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Json | bytes, Json]:
        """Status, body and headers of one request."""
        self.asked.append(target)
        self.before(target)
        with self._lock:
            try:
                parts = urlsplit(target)
                if parts.path == "/token" and method == "POST":
                    return self._exchange({key: value[0] for key, value in parse_qs(body.decode()).items()})
                self._stumble()
                account = self._account(headers.get("Authorization", ""))
                asked = {key: value[0] for key, value in parse_qs(parts.query).items()}
                return 200, self._api(parts.path.removeprefix("/drive/v3/").split("/"), asked, account), {}
            except Refused as refused:
                error = {"code": refused.status, "message": refused.reason, "errors": [{"reason": refused.reason}]}
                return refused.status, {"error": error}, refused.headers

    def _stumble(self) -> None:
        if self.faults:
            raise self.faults.popleft()
        self._count += 1
        for every, refused in self.every.items():
            if self._count % every == 0:
                raise refused

    def _exchange(self, form: Mapping[str, str]) -> tuple[int, Json, Json]:
        if form.get("grant_type") == GRANT:
            account = self._vouched(form.get("assertion", ""))
        else:
            known = form.get("client_secret") == "secret"
            account = self.refresh_tokens.get(form.get("refresh_token", "")) if known else None
        if account is None:
            return 400, {"error": "invalid_grant", "error_description": "Bad Request"}, {}
        token = f"ya29.{len(self._tokens)}"
        self._tokens[token] = (account, self.uses_of_a_token)
        return 200, {"access_token": token, "expires_in": self.token_lives_s, "token_type": "Bearer"}, {}

    def _vouched(self, assertion: str) -> str | None:
        public = robot_key().public_key()
        try:
            claims = jwt.decode(assertion, public, ["RS256"], audience=self.token_url, issuer=ROBOT)
        except jwt.PyJWTError:
            return None
        if claims.get("scope") != SCOPE or claims["exp"] - claims["iat"] > 3600:
            return None
        return claims.get("sub", ROBOT) if self.may_impersonate or "sub" not in claims else None

    def _account(self, authorization: str) -> str:
        token = authorization.removeprefix("Bearer ")
        account, uses = self._tokens.get(token, ("", 0))
        if uses < 1:
            raise Refused(401, "authError")
        self._tokens[token] = (account, uses - 1)
        return account

    def _api(self, path: list[str], asked: Mapping[str, str], account: str) -> Json | bytes:
        match path:
            case ["about"]:
                return {"user": {"emailAddress": account}}
            case ["changes", "startPageToken"]:
                self._of_drive(asked, account)
                return {"startPageToken": str(self._now + 1)}
            case ["changes"]:
                return self._changes(asked, account)
            case ["files"]:
                return self._files(asked, account)
            case ["files", "root"]:
                return {"id": f"root-of-{account}"}
            case ["files", file_id]:
                return self._file(unquote(file_id), asked, account)
            case ["files", file_id, "permissions"]:
                return self._permissions(unquote(file_id), asked, account)
            case ["files", file_id, "export"]:
                return self._export(unquote(file_id), asked, account)
            case _:
                raise Refused(404, "notFound")

    def _seen(self, file_id: str, account: str, asked: Mapping[str, str]) -> Item:
        """Whoever does not say that it knows shared drives is shown nothing of them."""
        if file_id not in self.items or self.role_of(account, file_id) is None:
            raise Refused(404, "notFound")
        if self.drive_of(file_id) is not None and asked.get("supportsAllDrives") != "true":
            raise Refused(404, "notFound")
        return self.items[file_id]

    def _of_drive(self, asked: Mapping[str, str], account: str) -> str | None:
        """The shared drive that is asked about, which its members may."""
        shared = asked.get("driveId")
        if shared is None:
            return None
        if asked.get("supportsAllDrives") != "true":
            raise Refused(403, "teamDrivesNotSupported")
        if shared not in self.items or self.drive_of(shared) != shared:
            raise Refused(404, "notFound")
        if self.role_of(account, shared) is None:
            raise Refused(403, "teamDriveMembershipRequired")
        return shared

    def _corpus(self, asked: Mapping[str, str], account: str) -> str | None:
        """What is listed: a shared drive's items, or those of no shared one. Other corpora are not known here."""
        if asked.get("corpora", "user") not in ("user", "drive"):
            raise Refused(400, "invalid")
        if ("driveId" in asked) != (asked.get("corpora") == "drive"):
            raise Refused(403, "teamDriveIdRequiresTeamDriveCorpora")
        return self._of_all(asked, account)

    def _of_all(self, asked: Mapping[str, str], account: str) -> str | None:
        shared = self._of_drive(asked, account)
        if shared is not None and asked.get("includeItemsFromAllDrives") != "true":
            raise Refused(403, "includeTeamDriveItemsRequired")
        return shared

    def _file(self, file_id: str, asked: Mapping[str, str], account: str) -> Json | bytes:
        item = self._seen(file_id, account, asked)
        if self.fails.get(file_id, 0) and asked.get("alt") == "media":
            raise Refused(self.fails[file_id], "backendError")
        if asked.get("alt") != "media":
            return self._shown(item, asked.get("fields", ""), account)
        if item.mime.startswith(NATIVE):
            raise Refused(403, "fileNotDownloadable")
        if item.withheld:
            raise Refused(403, "cannotDownloadFile")
        return item.content

    def _export(self, file_id: str, asked: Mapping[str, str], account: str) -> bytes:
        # Of exports the reference lists no supportsAllDrives.
        item = self._seen(file_id, account, {**asked, "supportsAllDrives": "true"})
        if item.exported_bytes > EXPORT_LIMIT:
            raise Refused(403, "exportSizeLimitExceeded")
        return word(paragraph(item.content.decode()))

    def _permissions(self, file_id: str, asked: Mapping[str, str], account: str) -> Json:
        item = self._seen(file_id, account, asked)
        if self.drive_of(item.id) is None and self.role_of(account, item.id) not in _CAN_SHARE:
            raise Refused(403, "insufficientFilePermissions")
        grants = self.grants_of(item.id)
        begin = int(asked.get("pageToken", "0"))
        told: Json = {"permissions": [each.shown() for each in grants[begin : begin + self.page]]}
        return told | ({"nextPageToken": str(begin + self.page)} if begin + self.page < len(grants) else {})

    def _shown(self, item: Item, fields: str, account: str) -> Json:
        shared = self.drive_of(item.id)
        told: Json = {
            "id": item.id,
            "name": item.name,
            "mimeType": item.mime,
            "trashed": self.is_trashed(item.id),
            "version": str(item.version),
        }
        if item.parent in self.items and self.role_of(account, item.parent) is not None:
            told["parents"] = [item.parent]
        if not item.mime.startswith(NATIVE):
            told |= {"md5Checksum": md5(item.content).hexdigest(), "size": str(len(item.content))}
        if item.mime != FOLDER:
            told["webViewLink"] = f"https://drive.google.com/file/d/{item.id}/view"
        if item.limited:
            told["inheritedPermissionsDisabled"] = True
        if shared is not None:
            told |= {"driveId": shared, "hasAugmentedPermissions": bool(item.grants) and item.id != shared}
        elif self.role_of(account, item.id) in _CAN_SHARE:
            told["permissions"] = [each.shown() for each in self.grants_of(item.id)]
        return {name: value for name, value in told.items() if re.search(rf"\b{name}\b", fields)}

    def _files(self, asked: Mapping[str, str], account: str) -> Json:
        if self.forgets_listings and "pageToken" in asked:
            self.forgets_listings = False
            raise Refused(400, "invalid")
        matches = _query(asked["q"])
        shared = self._corpus(asked, account)
        for parent in re.findall(r"'([^']+)' in parents", asked["q"]):
            self._seen(parent, account, asked)
        question = md5(asked["q"].encode()).hexdigest()
        after, _, asked_before = asked.get("pageToken", f" {question}").partition(" ")
        if asked_before != question:
            raise Refused(400, "invalid")
        size = min(self.page, int(asked["pageSize"]))
        found: list[Item] = []
        for item in sorted(self.items.values(), key=lambda each: each.id):
            if item.id > after and self._listed(item, shared, account) and matches(self, item):
                found.append(item)
                if len(found) > size:
                    break
        page = found[:size]
        told: Json = {"files": [self._shown(item, asked["fields"], account) for item in page]}
        return told | ({"nextPageToken": f"{page[-1].id} {question}"} if len(found) > size else {})

    def _listed(self, item: Item, shared: str | None, account: str) -> bool:
        if self.drive_of(item.id) != shared or item.id == shared:
            return False
        return self.role_of(account, item.id) is not None

    def _changes(self, asked: Mapping[str, str], account: str) -> Json:
        shared = self._of_all(asked, account)
        begin = int(asked["pageToken"])
        if begin < self.forgets_below:
            raise Refused(410, "gone")
        told = sorted((at, file_id) for file_id, at in self._changed.items() if at >= begin)
        page = told[: self.page]
        changes = [self._change(file_id, shared, asked, account) for _, file_id in page]
        answer: Json = {"changes": [each for each in changes if each is not None]}
        if len(told) > len(page):
            return answer | {"nextPageToken": str(page[-1][0] + 1)}
        return answer | {"newStartPageToken": str(self._now + 1)}

    def _change(self, file_id: str, shared: str | None, asked: Mapping[str, str], account: str) -> Json | None:
        """None: it never was in what is asked about."""
        if shared not in self._been[file_id] or file_id == shared:
            return None
        item = self.items.get(file_id)
        if item is None or self.role_of(account, file_id) is None or self.drive_of(file_id) != shared:
            return {"changeType": "file", "removed": True, "fileId": file_id}
        return {"changeType": "file", "removed": False, "fileId": file_id,
                "file": self._shown(item, asked["fields"], account)}  # fmt: skip


def _holds(grant: Grant) -> bool:
    """Whether a grant is of the content, and not over."""
    until = cast("str | None", grant.more.get("expirationTime"))
    if grant.more.get("view") or grant.more.get("deleted"):
        return False
    return until is None or datetime.fromisoformat(until) > datetime.now(UTC)


def _query(text: str) -> Callable[[FakeDrive, Item], bool]:
    """The part of Drive's search language that is known here. Raises  Refused: it is not of that."""
    said = [part.strip() for part in text.strip("()").split(" or ")] if " in parents" in text else text.split(" and ")
    found = [_CLAUSE.fullmatch(part.strip()) for part in said]
    if not all(found):
        raise Refused(400, "invalid")
    clauses = [each for each in found if each is not None]
    if " in parents" in text:
        parents = {each[4] for each in clauses}
        return lambda _, item: item.parent in parents

    def matches(drive: FakeDrive, item: Item) -> bool:
        for each in clauses:
            value = str(drive.is_trashed(item.id)).lower() if each[1] == "trashed" else item.mime
            if (value == each[3].strip("'")) != (each[2] == "="):
                return False
        return True

    return matches


@cache
def robot_key() -> rsa.RSAPrivateKey:
    """The service account's; made once a process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def robot_credentials(token_url: str) -> str:
    """The file that Google's console would hand out for it."""
    pem = robot_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {"type": "service_account", "project_id": "acme-audit", "private_key_id": "k1", "private_key": pem.decode(),
         "client_email": ROBOT, "client_id": "1", "token_uri": token_url}
    )  # fmt: skip


def person_credentials(token_url: str, refresh_token: str = "1//refresh") -> str:
    """What a person's consent leaves behind."""
    return json.dumps({"type": "authorized_user", "client_id": "glow", "client_secret": "secret",
                       "refresh_token": refresh_token, "token_uri": token_url})  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, drive: FakeDrive) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.drive = drive


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _answer(self, body: bytes) -> None:
        server = cast(_Server, self.server)
        status, answer, headers = server.drive.answer(self.command, self.path, dict(self.headers), body)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody looks."""


@contextmanager
def served_drive(drive: FakeDrive) -> Generator[FakeDrive]:
    """The Drive on a loopback port for the length of the block."""
    with _Server(drive) as server:
        drive.url = f"http://127.0.0.1:{server.server_port}/drive/v3"
        drive.token_url = f"http://127.0.0.1:{server.server_port}/token"
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield drive
        finally:
            server.shutdown()
            serving.join()
