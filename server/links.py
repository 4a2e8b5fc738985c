"""Links that hand out one file for five minutes: what a link allows, sealed so that nothing of it can be changed."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import orjson

from domain.kernel import CallId, Clock, OrganizationId, Principal, PrincipalId

_PURPOSE = b"glow: links to files, 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLink:
    """Who may have which file under which name, and until when."""

    principal: Principal
    """In whose name the file is handed out: whether they may is asked again when it is."""
    document_id: UUID
    content_sha256: str
    filename: str
    made_by: CallId
    """The call that made the link."""
    expires_at: datetime


class LinkRefused(Exception):
    """The link opens nothing; the words say no more than whoever holds it knows."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class FileLinks:
    """Seals links and opens them again, in every process of the installation alike."""

    def __init__(self, shared_secret: str, clock: Clock) -> None:
        self._key = hmac.digest(shared_secret.encode(), _PURPOSE, hashlib.sha256)
        self._clock = clock

    def seal(self, link: FileLink) -> str:
        """The link as text that an address can hold."""
        who = link.principal
        said = [
            str(who.organization_id),
            str(who.principal_id),
            who.kind,
            who.mode,
            who.door,
            str(link.document_id),
            link.content_sha256,
            link.filename,
            str(link.made_by),
            int(link.expires_at.timestamp()),
        ]
        payload = base64.urlsafe_b64encode(orjson.dumps(said)).rstrip(b"=")
        return f"{payload.decode()}.{self._mac(payload).hex()}"

    def open(self, text: str) -> FileLink:
        """What a link of ours says, while it holds.

        Raises  LinkRefused.
        """
        payload, _, mac = text.encode(errors="replace").partition(b".")
        # In constant time, and before anything of it is read.
        if not hmac.compare_digest(self._mac(payload).hex().encode(), mac):
            raise LinkRefused("link_invalid", "This link was not made here, or was changed.")
        link = _link(payload)
        if self._clock() >= link.expires_at:
            raise LinkRefused("link_expired", "This link has expired; ask for another.")
        return link

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, hashlib.sha256)


def _link(payload: bytes) -> FileLink:
    """What the payload says; one whose seal is whole is as it was written."""
    try:
        said = cast("list[Any]", orjson.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))))
    except (binascii.Error, orjson.JSONDecodeError) as broken:
        raise LinkRefused("link_invalid", "This link was not made here, or was changed.") from broken
    organization_id, principal_id, kind, mode, door, document_id, content_sha256, filename, made_by, expires_at = said
    return FileLink(
        principal=Principal(
            organization_id=OrganizationId(UUID(organization_id)),
            principal_id=PrincipalId(UUID(principal_id)),
            kind=kind,
            mode=mode,
            door=door,
        ),
        document_id=UUID(document_id),
        content_sha256=content_sha256,
        filename=filename,
        made_by=CallId(UUID(made_by)),
        expires_at=datetime.fromtimestamp(expires_at, UTC),
    )
