"""What Google Drive says, as far as it is read here: files, who may read them, and what changed.

Source  the reference of the Drive API v3: files, permissions, changes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

FOLDER: Final = "application/vnd.google-apps.folder"
SHORTCUT: Final = "application/vnd.google-apps.shortcut"
NATIVE: Final = "application/vnd.google-apps."
"""How the types of Google's own documents begin, which have no bytes before they are exported."""

FOLDER_FIELDS: Final = "id,name,mimeType,parents,trashed,driveId,hasAugmentedPermissions,inheritedPermissionsDisabled"
PERMISSION_FIELDS: Final = "type,emailAddress,domain,allowFileDiscovery,expirationTime,deleted,view"
FILE_FIELDS: Final = (
    f"{FOLDER_FIELDS},version,md5Checksum,headRevisionId,size,webViewLink,permissions({PERMISSION_FIELDS})"
)


class _Said(BaseModel):
    """An object of an answer; what is not read here is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, hide_input_in_errors=True)


Text = Annotated[str, Field(max_length=4096)]


class Permission(_Said):
    """One grant: to whom, and until when."""

    type: Text = ""
    email_address: Text | None = None
    domain: Text | None = None
    allow_file_discovery: bool | None = None
    """Of a domain and of anyone: whether they find it; else only those who were given its link."""
    expiration_time: datetime | None = None
    deleted: bool = False
    """The account is."""
    view: Text | None = None
    """Set where not the item itself is granted: that it is there (`metadata`), or what was published of it."""


def _bounded(parents: object) -> object:
    return parents if parents is not None else ()


class File(_Said):
    """A file or a folder as it is now."""

    id: Text
    name: str = ""
    mime_type: Text = ""
    parents: Annotated[tuple[Text, ...], BeforeValidator(_bounded)] = ()
    """One; several only where it was filed so before 2020. None: what it lies in is not shown to us."""
    trashed: bool = False
    drive_id: Text | None = None
    """The shared drive that it lies in."""
    has_augmented_permissions: bool = False
    """In a shared drive: somebody has access to this very item."""
    inherited_permissions_disabled: bool = False
    version: Text | None = None
    """Grows with every change, also of what the content is not."""
    md5_checksum: Text | None = None
    head_revision_id: Text | None = None
    size: int | None = None
    web_view_link: Text | None = None
    permissions: tuple[Permission, ...] | None = None
    """None: in a shared drive, or not for us to see."""

    @property
    def is_folder(self) -> bool:
        return self.mime_type == FOLDER


class FileList(_Said):
    """A page of files."""

    files: tuple[File, ...] = ()
    next_page_token: str | None = None


class PermissionList(_Said):
    """A page of grants."""

    permissions: tuple[Permission, ...] = ()
    next_page_token: str | None = None


class Change(_Said):
    """What is said of a file, or of a shared drive, that changed."""

    change_type: Text = "file"
    removed: bool = False
    """Deleted, or no longer shown to us; what it was is not said."""
    file_id: Text | None = None
    file: File | None = None


class ChangeList(_Said):
    """A page of changes."""

    changes: tuple[Change, ...] = ()
    next_page_token: str | None = None
    new_start_page_token: str | None = None


class StartPageToken(_Said):
    """From where on changes are told."""

    start_page_token: str


class Account(_Said):
    """Whom the API takes us for."""

    email_address: Text | None = None


class About(_Said):
    """What the API says of us."""

    user: Account = Account()
