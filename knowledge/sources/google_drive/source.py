"""Google Drive as a source: first all that is shown to the account, then whatever its feed of changes tells.

What the feed says of a folder holds for all below it, of which it says nothing: that is looked through anew. Of what
went away the feed does not even say whether it was a folder: then all is listed anew, and only what changed is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from domain.kernel import Clock, utc_now
from knowledge.parse.document import DOCX, PPTX, XLSX
from knowledge.sources.google_drive.client import DriveClient, DriveFails, DriveRefused, Params, TooLarge
from knowledge.sources.google_drive.cursor import DriveCursor, cursor_of
from knowledge.sources.google_drive.readers import Accesses
from knowledge.sources.google_drive.tree import DriveScope, Tree
from knowledge.sources.google_drive.wire import (
    FILE_FIELDS,
    FOLDER,
    FOLDER_FIELDS,
    NATIVE,
    SHORTCUT,
    ChangeList,
    File,
    FileList,
    StartPageToken,
)
from knowledge.sources.port import (
    Changes,
    Content,
    Found,
    Gone,
    ItemGone,
    ItemUnavailable,
    ItemUnreadable,
    SourceRefused,
)

FULL_EVERY: Final = timedelta(days=1)
"""So old may a listing be: Drive does not promise that its feed tells everything."""
MIB: Final = 1024 * 1024
_PAGE: Final = 100
"""Drive gives no larger pages where grants are asked for with the files."""
_FOLDERS: Final = 1000
_MOST_FOLDER_PAGES: Final = 1000
_AT_ONCE: Final = 20
"""Folders whose content one request asks for."""
_MOST_WAITING: Final = 1000
"""Folders to be looked through: beyond that a listing is less work, and less to remember."""
_NATIVE_KINDS: Final = {
    "document": (DOCX, ".docx"),
    "spreadsheet": (XLSX, ".xlsx"),
    "presentation": (PPTX, ".pptx"),
    "drawing": ("application/pdf", ".pdf"),
}
_FORM: Final = 2
"""Of what is kept: a cursor of another form begins a listing."""
_FILE: Final = "file"
_OVER: Final = frozenset({400, 410})
"""How Drive answers a page token that it knows no more."""
_OF_THE_ACCOUNT: Final = frozenset({"accessNotConfigured", "domainPolicy", "insufficientPermissions"})
"""Refusals that hold for every file."""
_REFUSALS: Final = {
    "exportSizeLimitExceeded": "Google exports none that would be larger than 10 MB; download it there and upload it",
    "fileNotDownloadable": "Google Drive gives it to nobody",
    "cannotDownloadAbusiveFile": "Google Drive holds it for malware or spam",
    "fileNotExportable": "Google does not export it",
}
"""For what an item is."""
_MAY_PASS: Final = {
    "cannotDownloadFile": "its owner lets nobody download it",
    "downloadQuotaExceeded": "it was downloaded too often today",
}
"""Without any change of its content: then another version is not told."""


class DriveSource:
    """One scope of Google Drive, as one account sees it."""

    def __init__(
        self, client: DriveClient, scope: DriveScope, *, clock: Clock = utc_now, full_every: timedelta = FULL_EVERY
    ) -> None:
        self._client = client
        self._scope = scope
        self._clock = clock
        self._full_every = full_every

    async def changes(self, cursor: str | None) -> AsyncIterator[Changes]:
        """Raises  SourceUnavailable, SourceRefused."""
        run = _Run(self._client, self._scope, self._clock)
        await run.resume(cursor, self._full_every)
        while True:
            async for page in run.pages():
                yield page
                if page.is_last:
                    return

    async def read(self, item: Found, most_bytes: int) -> Content:
        """Raises  ItemUnreadable, ItemUnavailable, ItemGone, SourceUnavailable, SourceRefused."""
        kind = item.version.partition(":")[0]
        if item.size is not None and item.size > most_bytes:
            raise ItemUnreadable(f"it is larger than {most_bytes // MIB} MiB")
        if kind != _FILE and kind not in _NATIVE_KINDS:
            raise ItemUnreadable(f"a Google {kind} is no document that Google would export")
        path = f"files/{quote(item.key, safe='')}"
        try:
            if kind == _FILE:
                content = await self._client.download(path, {"alt": "media", "supportsAllDrives": True}, most_bytes)
            else:
                wanted: Params = {"mimeType": _NATIVE_KINDS[kind][0]}
                content = await self._client.download(f"{path}/export", wanted, most_bytes)
        except TooLarge:
            raise ItemUnreadable(f"it is larger than {most_bytes // MIB} MiB") from None
        except DriveRefused as refused:
            raise _unreadable(refused) from refused
        except DriveFails as fails:
            # A file at which Drive fails costs itself; a Drive that fails at everything is left alone.
            if not await self._client.answers():
                raise
            raise ItemUnavailable(str(fails)) from fails
        return Content(content=content, file_name=item.path.rpartition("/")[2], declared_type=item.media_type)


def _unreadable(refused: DriveRefused) -> Exception:
    """Of this item alone, unless Drive's reason is none of its own."""
    if refused.status == 401 or refused.reason in _OF_THE_ACCOUNT:
        return refused
    if refused.status == 404:
        return ItemGone("it is not there any more, or no longer shown to the account")
    if refused.reason in _REFUSALS:
        return ItemUnreadable(_REFUSALS[refused.reason])
    return ItemUnavailable(
        _MAY_PASS.get(refused.reason, f"Google Drive does not give it ({refused.reason or refused.status})")
    )


@dataclass(slots=True)
class _Run:
    """One reading of changes: `at` is how far it has come."""

    client: DriveClient
    scope: DriveScope
    clock: Clock
    tree: Tree = field(init=False)
    accesses: Accesses = field(init=False)
    at: DriveCursor = field(init=False)
    _folders_known: bool = False
    _begun_anew: bool = False

    def __post_init__(self) -> None:
        self.tree = Tree(self.client, self.scope)
        self.accesses = Accesses(self.client, self.tree, self.clock)

    async def resume(self, cursor: str | None, full_every: timedelta) -> None:
        """Go on at a cursor, or begin a listing where it is time for one."""
        found = cursor_of(cursor, self._mark())
        if found is None:
            self.at = await self._beginning(again=cursor is not None)
        elif found.phase == "following" and await self._is_due(found, full_every):
            self.at = await self._beginning()
        else:
            self.at = found

    def pages(self) -> AsyncIterator[Changes]:
        """What the next request gives; none where Drive knew its token no more, and a listing begins in its stead."""
        if self.at.below:
            return self._below()
        return self._listed() if self.at.phase == "listing" else self._told()

    async def _is_due(self, at: DriveCursor, full_every: timedelta) -> bool:
        now = self.clock()
        if at.again or now - at.listed_at >= full_every or (at.until is not None and at.until <= now):
            return True
        return at.drive_id is not None and await self.accesses.drive_mark(at.drive_id) != at.members

    async def _beginning(self, *, again: bool = False) -> DriveCursor:
        """The first page of a listing; where changes begin is asked before it, so that none falls between.

        `again`: another may have been cut off, and what that named counts as named by this one. The next puts it right.
        """
        drive_id = await self._drive_id()
        token = await self.client.ask(
            StartPageToken, "changes/startPageToken", {"supportsAllDrives": True, **_of_drive(drive_id)}
        )
        return DriveCursor(
            scope=self._mark(),
            phase="listing",
            token=None,
            start=token.start_page_token,
            listed_at=self.clock(),
            drive_id=drive_id,
            members=None if drive_id is None else await self.accesses.drive_mark(drive_id),
            again=again,
        )

    async def _drive_id(self) -> str | None:
        """The shared drive that is read, or that the folder lies in: of those Drive lists and tells each by itself.

        Raises  SourceRefused, SourceUnavailable.
        """
        root_id = self.scope.root_id
        if root_id is None:
            return None
        root = await self.client.ask(
            File, f"files/{quote(root_id, safe='')}", {"fields": FOLDER_FIELDS, "supportsAllDrives": True}
        )
        if not root.is_folder:
            raise SourceRefused("what the source names is a file of Google Drive and no folder")
        if self.scope.folder_id is None:
            return self.scope.drive_id
        if self.scope.drive_id not in (None, root.drive_id):
            raise SourceRefused("the folder that the source names does not lie in the shared drive that it names")
        return root.drive_id

    async def _listed(self) -> AsyncIterator[Changes]:
        """A page of everything. When it is through, what has changed meanwhile belongs to it still."""
        if not self._folders_known:
            await self._learn_folders()
        others = f"mimeType != '{FOLDER}' and mimeType != '{SHORTCUT}' and trashed = false"
        try:
            page = await self._files(others, FILE_FIELDS, _PAGE, self.at.token)
        except DriveRefused as refused:
            if refused.status not in _OVER or self.at.token is None:
                raise
            self.at = self._moved(token=None, again=True)
            return
        items = [await self._seen(file) for file in page.files]
        if page.next_page_token is not None:
            self.at = self._moved(token=page.next_page_token)
        else:
            self.at = self._moved(phase="catching", token=self.at.start)
        yield self._page(items, is_full=True)

    async def _told(self) -> AsyncIterator[Changes]:
        """A page of the feed; what lies below the folders that it names comes behind it."""
        is_full = self.at.phase == "catching"
        try:
            page = await self._feed()
        except DriveRefused as refused:
            if refused.status not in _OVER or self._begun_anew:
                raise
            self._begun_anew = True
            self.at = await self._beginning(again=is_full)
            return
        went, folders, files = _sorted(page)
        for folder in folders:
            self.tree.put(folder)
        if folders:
            self.accesses.forget()
        items = [*went, *[await self._seen(file) for file in files]]
        if went or any(change.change_type != "file" for change in page.changes):
            await self._list_again()
        if self.at.phase != "listing":
            self._after(page, [folder.id for folder in folders])
        yield self._page(items, is_full=is_full)

    def _after(self, page: ChangeList, folders: Sequence[str]) -> None:
        token = page.next_page_token or page.new_start_page_token
        if token is None:
            raise SourceRefused("what answers in the place of Google Drive is something else")
        self.at = self._moved(token=token, is_told=page.next_page_token is None, below=tuple(folders))

    async def _list_again(self) -> None:
        """At once; or with the next reading, where this one is a listing that could go on for ever."""
        self.at = self._moved(again=True) if self.at.phase == "catching" else await self._beginning()

    async def _below(self) -> AsyncIterator[Changes]:
        """A page of what lies in folders that changed, as it is now; also of the trash, where it is gone."""
        is_full = self.at.phase == "catching"
        asked = self.at.below_asked or min(_AT_ONCE, len(self.at.below))
        ids, rest = self.at.below[:asked], self.at.below[asked:]
        within = " or ".join(f"'{_quoted(each)}' in parents" for each in ids)
        try:
            page = await self._files(f"({within})", FILE_FIELDS, _PAGE, self.at.below_token)
        except DriveRefused as refused:
            if refused.status in _OVER and self.at.below_token is not None:
                self.at = self._moved(below_token=None, below_asked=0)
                return
            if refused.status != 404:
                raise
            # One of them went away meanwhile, and with it what lay in it.
            await self._list_again()
            self.at = self._moved(below=(), below_token=None, below_asked=0)
            yield self._page([], is_full=is_full)
            return
        inner = [file for file in page.files if file.is_folder and file.id not in self.at.below]
        for folder in inner:
            self.tree.put(folder)
        waiting = (*(ids if page.next_page_token else ()), *rest, *(folder.id for folder in inner))
        items = [await self._seen(file) for file in page.files if _is_document(file)]
        self.at = self._moved(
            below=waiting, below_token=page.next_page_token, below_asked=asked if page.next_page_token else 0
        )
        if len(waiting) > _MOST_WAITING and self.at.phase == "following":
            self.at = await self._beginning()
        yield self._page(items, is_full=is_full)

    def _page(self, items: Sequence[Found | Gone], *, is_full: bool) -> Changes:
        """The last one where the feed has told everything, and all below what it named was looked at."""
        is_last = self.at.is_told and not self.at.below
        if is_last:
            self.at = self._moved(phase="following", is_told=False)
        return Changes(items=tuple(items), cursor=self.at.text(), is_full=is_full, is_last=is_last)

    async def _seen(self, file: File) -> Found | Gone:
        path = await self.tree.path_of(file)
        if path is None:
            return Gone(key=file.id)
        access = await self.accesses.of(file)
        kind = file.mime_type.removeprefix(NATIVE) if file.mime_type.startswith(NATIVE) else _FILE
        media_type, suffix = _NATIVE_KINDS.get(kind, (file.mime_type or None, ""))
        content = file.md5_checksum or file.head_revision_id or file.version or ""
        return Found(
            key=file.id,
            path=path if path.lower().endswith(suffix) else path + suffix,
            version=f"{kind}:{content}",
            media_type=media_type,
            size=file.size if kind == _FILE else None,
            readers=access.readers,
            unexpanded=access.unexpanded,
            url=file.web_view_link,
        )

    async def _learn_folders(self) -> None:
        """All folders at once, where each file would else ask for those above it one by one."""
        token: str | None = None
        for _ in range(_MOST_FOLDER_PAGES):
            try:
                page = await self._files(f"mimeType = '{FOLDER}' and trashed = false", FOLDER_FIELDS, _FOLDERS, token)
            except DriveRefused as refused:
                if refused.status not in _OVER or token is None:
                    raise
                break
            for folder in page.files:
                self.tree.put(folder)
            token = page.next_page_token
            if token is None:
                break
        self._folders_known = True

    async def _files(self, which: str, fields: str, size: int, token: str | None) -> FileList:
        shared = self.at.drive_id is not None
        asked: dict[str, str | int | bool] = {
            "q": which,
            "fields": f"nextPageToken,files({fields})",
            "pageSize": size,
            "spaces": "drive",
            "corpora": "drive" if shared else "user",
            "supportsAllDrives": True,
            "includeItemsFromAllDrives": shared,
            **_of_drive(self.at.drive_id),
        }
        return await self.client.ask(FileList, "files", asked if token is None else {**asked, "pageToken": token})

    async def _feed(self) -> ChangeList:
        asked: Params = {
            "pageToken": self.at.token or self.at.start,
            "fields": f"nextPageToken,newStartPageToken,changes(changeType,removed,fileId,file({FILE_FIELDS}))",
            "pageSize": _PAGE,
            "spaces": "drive",
            "includeRemoved": True,
            "supportsAllDrives": True,
            "includeItemsFromAllDrives": self.at.drive_id is not None,
            **_of_drive(self.at.drive_id),
        }
        return await self.client.ask(ChangeList, "changes", asked)

    def _moved(self, **changes: object) -> DriveCursor:
        until: datetime | None = min(filter(None, (self.at.until, self.accesses.until)), default=None)
        return self.at.model_copy(update={"until": until, **changes})

    def _mark(self) -> str:
        """What tells this scope, read by this account, from others."""
        account = self.client.tokens.account
        whole = repr((_FORM, account, self.scope.folder_id, self.scope.drive_id))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _sorted(page: ChangeList) -> tuple[list[Gone], list[File], list[File]]:
    """What went away, the folders, and the documents that a page names."""
    went: list[Gone] = []
    folders: list[File] = []
    files: list[File] = []
    for change in page.changes:
        if change.change_type != "file" or change.file_id is None:
            continue
        if change.removed or change.file is None:
            went.append(Gone(key=change.file_id))
        elif change.file.is_folder:
            folders.append(change.file)
        elif _is_document(change.file):
            files.append(change.file)
    return went, folders, files


def _is_document(file: File) -> bool:
    """Shortcuts are none: what they lead to is taken in where it lies, if that is read at all."""
    return file.mime_type not in (FOLDER, SHORTCUT)


def _of_drive(drive_id: str | None) -> dict[str, str]:
    return {} if drive_id is None else {"driveId": drive_id}


def _quoted(file_id: str) -> str:
    return file_id.replace("\\", "\\\\").replace("'", "\\'")
