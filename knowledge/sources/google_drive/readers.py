"""Whom Google Drive shows an item to: never more than it says itself, and nobody where it does not say."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain.kernel import Clock
from knowledge.sources.google_drive.client import DriveClient, DriveRefused
from knowledge.sources.google_drive.tree import Tree
from knowledge.sources.google_drive.wire import PERMISSION_FIELDS, About, File, Permission, PermissionList
from knowledge.sources.port import EVERYONE, Everyone, Readers


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read something, whose members are not known, and until when this holds."""

    readers: Readers
    unexpanded: tuple[str, ...] = ()
    until: datetime | None = None
    """When the first of the grants ends; None: none does."""


def access_of(permissions: Sequence[Permission], now: datetime) -> Access:
    """What grants come to. Those that are over, only by link, or not of the content give nothing."""
    readers: set[str] = set()
    groups: set[str] = set()
    ends: list[datetime] = []
    everyone = False
    for each in permissions:
        if each.deleted or each.view or (each.expiration_time is not None and each.expiration_time <= now):
            continue
        if each.expiration_time is not None:
            ends.append(each.expiration_time)
        match each.type:
            case "user" if each.email_address:
                readers.add(each.email_address.lower())
            case "group" if each.email_address:
                groups.add(each.email_address.lower())
            case "domain" if each.domain and each.allow_file_discovery:
                readers.add(f"@{each.domain.lower()}")
            case "anyone" if each.allow_file_discovery:
                everyone = True
            case _:
                # Whoever was given the link may open it; Drive shows it to nobody unasked.
                pass
    return Access(EVERYONE if everyone else frozenset(readers), tuple(sorted(groups)), min(ends, default=None))


@dataclass(slots=True)
class Accesses:
    """Who may read the items of one run."""

    client: DriveClient
    tree: Tree
    clock: Clock
    until: datetime | None = None
    """When the first of the grants that were met ends."""
    _own: Access | None = None
    _known: dict[str, Access] = field(default_factory=dict[str, Access])

    async def of(self, file: File) -> Access:
        """Raises  SourceRefused, SourceUnavailable."""
        if file.permissions is not None:
            access = access_of(file.permissions, self.clock())
        elif file.drive_id is None:
            access = await self._of_ourselves()
        else:
            access = await self._in_shared_drive(file, file.drive_id)
        if access.until is not None:
            self.until = access.until if self.until is None else min(self.until, access.until)
        return access

    async def drive_mark(self, drive_id: str) -> str:
        """What tells one membership of a shared drive from another: Drive announces no change of it for its items."""
        access = await self._listed(drive_id)
        told = "everyone" if isinstance(access.readers, Everyone) else sorted(access.readers)
        return hashlib.sha256(repr((told, access.unexpanded)).encode()).hexdigest()[:16]

    def forget(self) -> None:
        """A folder changed, and with it who may read what lies in it."""
        self._known.clear()

    async def _in_shared_drive(self, file: File, drive_id: str) -> Access:
        """That of the nearest item on the way up which has grants of its own; in the end the drive's members.

        Drive names the grants of such an item only when asked for each, so those of a folder stand for what is in it.
        """
        at: File | None = file
        for _ in range(self.tree.DEEPEST):
            if at is None or at.id == drive_id:
                break
            if at.has_augmented_permissions or at.inherited_permissions_disabled:
                return await self._listed(at.id)
            at = await self.tree.folder(at.parents[0]) if at.parents else None
        return await self._listed(drive_id)

    async def _listed(self, item_id: str) -> Access:
        if item_id not in self._known:
            self._known[item_id] = await self._asked(item_id)
        return self._known[item_id]

    async def _asked(self, item_id: str) -> Access:
        found: list[Permission] = []
        token = None
        try:
            while True:
                page = await self.client.ask(
                    PermissionList,
                    f"files/{item_id}/permissions",
                    {
                        "fields": f"nextPageToken,permissions({PERMISSION_FIELDS})",
                        "pageSize": 100,
                        "supportsAllDrives": True,
                        **({"pageToken": token} if token else {}),
                    },
                )
                found += page.permissions
                token = page.next_page_token
                if token is None:
                    return access_of(found, self.clock())
        except DriveRefused as refused:
            if refused.status not in (403, 404):
                raise
            return await self._of_ourselves()

    async def _of_ourselves(self) -> Access:
        """Where we may not see who else reads it: it is shown to us."""
        if self._own is None:
            about = await self.client.ask(About, "about", {"fields": "user(emailAddress)"})
            address = about.user.email_address
            self._own = Access(
                frozenset({address.lower()} if address else ()), ("those whom Drive does not name to the account",)
            )
        return self._own
