"""The check of migrations/: the past is not rewritten, and no file does what its runner or the bootstrap must."""

from pathlib import Path

import pytest

from checks.migrations import CHECKSUMS, faults, record
from domain.resources import resource_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recorded folder with one migration."""
    (tmp_path / "0001_expand_first.sql").write_text("CREATE TABLE first ();\n", encoding="utf-8")
    record(tmp_path)
    return tmp_path


def test_the_program_s_own_migrations_are_whole() -> None:
    assert faults(resource_folder("migrations")) == []


def test_a_recorded_folder_has_no_fault(folder: Path) -> None:
    assert faults(folder) == []


def test_an_edited_file_is_named(folder: Path) -> None:
    (folder / "0001_expand_first.sql").write_text("CREATE TABLE other ();\n", encoding="utf-8")
    assert faults(folder) == [
        "0001_expand_first.sql was edited after it was recorded: write a new migration",
    ]


def test_a_new_file_must_be_recorded(folder: Path) -> None:
    (folder / "0002_contract_first.sql").write_text("DROP TABLE first;\n", encoding="utf-8")
    assert faults(folder) == ["0002_contract_first.sql is not recorded: python -m checks.migrations --record"]


def test_a_removed_file_is_named(folder: Path) -> None:
    (folder / "0001_expand_first.sql").unlink()
    assert faults(folder) == ["0001_expand_first.sql is recorded but gone: migrations only go forward"]


def test_a_wrong_name_is_named(folder: Path) -> None:
    (folder / "0002_second.sql").touch()
    assert "0002_second.sql: a migration is named" in faults(folder)[0]


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT;",
        "begin;",
        "CREATE INDEX CONCURRENTLY x ON first (id);",
        "CREATE EXTENSION pgcrypto;",
        "CREATE ROLE other;",
        "ALTER ROLE glow_app BYPASSRLS;",
        "SET LOCAL ROLE glow_app;",
        "ALTER TABLE first NO FORCE ROW LEVEL SECURITY;",
        "ALTER TABLE first DISABLE TRIGGER ALL;",
    ],
)
def test_what_a_migration_may_not_do_is_found_with_its_line(folder: Path, statement: str) -> None:
    sql = f"-- {statement} is only spoken of here\n\n{statement}\n"
    (folder / "0001_expand_first.sql").write_text(sql, encoding="utf-8")
    record(folder)
    found = faults(folder)
    assert len(found) == 1
    assert found[0].startswith("0001_expand_first.sql:3: ")


def test_the_body_of_a_function_may_begin(folder: Path) -> None:
    sql = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n    NULL;\nEND $$;\n"
    (folder / "0001_expand_first.sql").write_text(sql, encoding="utf-8")
    record(folder)
    assert faults(folder) == []


def test_checksums_are_written_as_sha256sum_reads_them(folder: Path) -> None:
    line = (folder / CHECKSUMS).read_text(encoding="utf-8")
    assert line.endswith("  0001_expand_first.sql\n")
    assert len(line.split("  ")[0]) == 64
