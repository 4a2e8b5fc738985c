"""The work of `glow files copy`: every file that a document has, from one place to the one that the settings mean."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from knowledge.model import FileKey
from knowledge.ports import Storage
from server.cli.failure import CommandFailed
from server.cli.printing import complain, say
from server.cli.running import run
from server.database.connection import Connection, connected
from server.database.files import HOLD_FILE
from server.database.provision import provided
from server.settings import FilesIn, Settings, load_settings
from server.storage.choosing import storage_of

_FILES = """
SELECT organization_id, content_sha256 AS digest, bool_or(content IS NOT NULL) AS inside,
       bool_or(content IS NULL) AS outside
FROM knowledge_files JOIN knowledge_documents USING (organization_id, document_id)
WHERE (organization_id, content_sha256) > ($1, $2)
GROUP BY organization_id, content_sha256
ORDER BY organization_id, content_sha256 LIMIT 500
"""
_FIRST = (UUID(int=0), b"")
_OF_DIGEST = """
f.organization_id = $1 AND EXISTS (
    SELECT FROM knowledge_documents d
    WHERE d.organization_id = f.organization_id AND d.document_id = f.document_id AND d.content_sha256 = $2)
"""
_CONTENT = f"SELECT f.content FROM knowledge_files f WHERE f.content IS NOT NULL AND {_OF_DIGEST} LIMIT 1"
_OUTSIDE = f"UPDATE knowledge_files f SET content = NULL WHERE f.content IS NOT NULL AND {_OF_DIGEST}"
_INSIDE = f"UPDATE knowledge_files f SET content = $3 WHERE f.content IS NULL AND {_OF_DIGEST}"


@dataclass(slots=True)
class Tally:
    """How it went."""

    copied: int = 0
    there: int = 0
    missing: int = 0


def copy(source: FilesIn) -> None:
    """Copy, and say how many.

    Raises  CommandFailed: some could not be found whole.
    """
    tally = run(copied(load_settings(), source))
    say(f"copied {tally.copied} files; {tally.there} were there already")
    if tally.missing:
        raise CommandFailed(f"{tally.missing} files are not whole where they were looked for")


async def copied(settings: Settings, source: FilesIn) -> Tally:
    if source == settings.files_kept_in:
        raise CommandFailed(f"files are kept in {source} already: set GLOW_FILES to where they are to go")
    given, taken = storage_of(settings, source), storage_of(settings)
    tally = Tally()
    async with provided(settings) as urls:
        if urls.owner is None:
            raise CommandFailed("files are moved by the owner of the database: set GLOW_OWNER_DATABASE_URL")
        async with connected(urls.owner, application_name="glow files") as owner:
            behind = _FIRST
            while rows := await owner.fetch(_FILES, *behind):
                for row in rows:
                    key = FileKey(organization_id=row["organization_id"], digest=row["digest"])
                    if row["inside" if given is None else "outside"]:
                        await _copy(owner, key, given, taken, tally)
                    else:
                        tally.there += 1
                behind = (rows[-1]["organization_id"], rows[-1]["digest"])
    return tally


async def _copy(owner: Connection, key: FileKey, given: Storage | None, taken: Storage | None, tally: Tally) -> None:
    """One file; whoever takes it up or discards it meanwhile waits."""
    async with owner.transaction():
        await owner.execute(HOLD_FILE, key.organization_id, key.hex)
        if taken is not None and given is not None and await taken.has(key):
            tally.there += 1
            return
        if given is None:
            content = await owner.fetchval(_CONTENT, key.organization_id, key.digest)
        else:
            content = await given.get(key)
        if content is None or hashlib.sha256(content).digest() != key.digest:
            complain(f"{key.name} is not whole where it was looked for")
            tally.missing += 1
            return
        if taken is None:
            await owner.execute(_INSIDE, key.organization_id, key.digest, content)
        else:
            await taken.put(key, content)
            await owner.execute(_OUTSIDE, key.organization_id, key.digest)
    tally.copied += 1
