"""Keeps migrations/ forward only: no gap, no statement that is the runner's, no file edited once recorded.

`--record` writes migrations/checksums.txt (as `sha256sum -c` reads it); a line that changes there is a past rewritten,
which a reviewer sees at once and a database that has it already refuses.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from domain.resources import resource_folder
from server.database.errors import MigrationRefused
from server.database.migrate import Migration, load_migrations

CHECKSUMS = "checksums.txt"

FORBIDDEN = (
    (r"^[ \t]*(BEGIN|COMMIT|ROLLBACK|START TRANSACTION)\s*;", "ends the transaction that the runner keeps"),
    (r"\bCONCURRENTLY\b", "cannot run in the file's transaction"),
    (r"\bCREATE\s+EXTENSION\b", "is for the superuser's bootstrap"),
    (r"\bCREATE\s+(ROLE|USER)\b|\bSUPERUSER\b|\bBYPASSRLS\b", "is for the superuser's bootstrap"),
    (r"\bSET\s+(LOCAL\s+|SESSION\s+)?(ROLE|SESSION AUTHORIZATION)\b", "changes who migrates"),
    (r"\bNO\s+FORCE\s+ROW\s+LEVEL|\bDISABLE\s+ROW\s+LEVEL", "takes a wall down"),
    (r"\bDISABLE\s+TRIGGER\b", "takes a wall down"),
)
_COMMENT = re.compile(r"--[^\n]*")


def faults(folder: Path) -> list[str]:
    """What is wrong with the files of a folder or their recorded checksums; empty when all is well."""
    try:
        migrations = load_migrations(folder)
    except MigrationRefused as refusal:
        return [str(refusal)]
    found = [fault for migration in migrations for fault in _forbidden_in(migration)]
    return found + _checksum_faults(migrations, read_checksums(folder))


def read_checksums(folder: Path) -> dict[str, str]:
    """The recorded checksum of each file, by its name."""
    path = folder / CHECKSUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: checksum for checksum, name in (line.split("  ", 1) for line in lines)}


def record(folder: Path) -> None:
    """Writes the checksum of every file of the folder."""
    lines = [f"{migration.checksum}  {migration.name}\n" for migration in load_migrations(folder)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def main() -> int:
    """Check migrations/, or with `--record` take its files as they are; exit status."""
    folder = resource_folder("migrations")
    if "--record" in sys.argv[1:]:
        record(folder)
    found = faults(folder)
    print("\n".join(found) or f"migrations: {len(read_checksums(folder))}, none edited")
    return 1 if found else 0


def _forbidden_in(migration: Migration) -> list[str]:
    # Comments are blanked, not removed, so that line numbers stay those of the file.
    sql = _COMMENT.sub("", migration.sql)
    return [
        f"{migration.name}:{sql.count(chr(10), 0, match.start()) + 1}: {match.group().strip()!r} {why}"
        for pattern, why in FORBIDDEN
        for match in re.finditer(pattern, sql, re.IGNORECASE | re.MULTILINE)
    ]


def _checksum_faults(migrations: tuple[Migration, ...], recorded: dict[str, str]) -> list[str]:
    names = {migration.name for migration in migrations}
    found = [f"{name} is recorded but gone: migrations only go forward" for name in sorted(set(recorded) - names)]
    for migration in migrations:
        if migration.name not in recorded:
            found.append(f"{migration.name} is not recorded: python -m checks.migrations --record")
        elif recorded[migration.name] != migration.checksum:
            found.append(f"{migration.name} was edited after it was recorded: write a new migration")
    return found


if __name__ == "__main__":
    sys.exit(main())
