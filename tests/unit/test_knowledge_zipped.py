"""Archives of any kind whose headers say what zipfile does not read: bad input, in words."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.parse.archive import Allowance, entries
from knowledge.parse.document import DEFAULT_LIMITS, Unreadable
from knowledge.parse.package import Package
from tests.support.office import packed

DIRECTORY = b"PK\x01\x02"
VERSION_NEEDED = 6
ARCHIVE = packed({"a.md": "# Letters", "b/c.md": "They are renewed."})


def of_version(content: bytes, version: int) -> bytes:
    """The same archive, each entry of which needs that version of the format."""
    changed = bytearray(content)
    place = changed.find(DIRECTORY)
    while place >= 0:
        changed[place + VERSION_NEEDED] = version
        place = changed.find(DIRECTORY, place + 4)
    return bytes(changed)


def test_an_archive_of_a_later_version_of_the_format_is_refused_in_words() -> None:
    with pytest.raises(Unreadable, match="damaged or was cut short"):
        list(entries(of_version(ARCHIVE, 99), Allowance(DEFAULT_LIMITS)))
    with pytest.raises(Unreadable, match="damaged"):
        Package(of_version(ARCHIVE, 99), DEFAULT_LIMITS)


@given(st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.integers(0, 255)), max_size=4))
def test_whatever_its_bytes_say_an_archive_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(ARCHIVE)
    for place, value in changes:
        changed[place] = value
    with contextlib.suppress(Unreadable):
        list(entries(bytes(changed), Allowance(DEFAULT_LIMITS)))


def test_an_entry_without_a_name_costs_only_itself() -> None:
    nameless = ARCHIVE.replace(b"a.md", b"\0.md")
    assert [entry.path for entry in entries(nameless, Allowance(DEFAULT_LIMITS))] == ["b/c.md"]
