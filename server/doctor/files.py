"""Whether files can be kept where the settings say."""

import os
import secrets
from uuid import uuid4

from knowledge.model import FileKey
from knowledge.ports import Storage
from server.doctor.finding import Finding, wrong
from server.settings import Settings
from server.storage.choosing import storage_of
from server.storage.fault import StorageUnavailable
from server.storage.folder import FolderStorage

PROBE = b"Is this kept?"


async def files_finding(settings: Settings) -> Finding:
    """Whether a file can be put there, read again and removed: one of nobody's is, once the folder is there."""
    storage = storage_of(settings)
    if storage is None:
        return Finding(part="files", state="ok", says="kept in the database")
    if isinstance(storage, FolderStorage) and not storage.root.exists():
        return Finding(part="files", state="ok", says=f"{storage.place}: made when the first file is kept")
    try:
        fault = await _fault(storage)
    except StorageUnavailable as unavailable:
        fault = str(unavailable)
    if fault is not None:
        mend = "mend GLOW_FILES and what it needs (docs/storage.md), or what this account may do there"
        return wrong("files", f"{storage.place}: {fault}", mend)
    return Finding(part="files", state="ok", says=f"{storage.place}: a file was put there, read and removed")


async def _fault(storage: Storage) -> str | None:
    key = FileKey(organization_id=uuid4(), digest=secrets.token_bytes(32))
    await storage.put(key, PROBE)
    try:
        return None if await storage.get(key) == PROBE else "what was put there is not what is read"
    finally:
        await storage.delete(key)
        if isinstance(storage, FolderStorage):
            for folder in (
                storage.root / str(key.organization_id) / key.hex[:2],
                storage.root / str(key.organization_id),
            ):
                os.rmdir(folder)
