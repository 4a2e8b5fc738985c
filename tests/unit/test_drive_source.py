"""What a source says of a Drive is what is on it: after any course of edits, faults and interruptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.sources.google_drive.client import Manners, Surroundings
from knowledge.sources.google_drive.tree import DriveScope
from knowledge.sources.port import (
    EVERYONE,
    Everyone,
    Found,
    ItemGone,
    ItemUnavailable,
    ItemUnreadable,
    SourceRefused,
    SourceUnavailable,
)
from tests.support.driven_drive import Firm, firm, no_wait, reading
from tests.support.fake_drive import NATIVE, OWNER, ROBOT, Grant, Refused, person_credentials, robot_credentials
from tests.support.followed import Followed

MOST_BYTES = 50 * 1024 * 1024
TOKEN_URL = "https://oauth2.googleapis.com/token"


def told(followed: Followed) -> Mapping[str, tuple[str, frozenset[str], str]]:
    """What was said of each item, as Firm.expected has it."""
    return {
        key: (item.path, frozenset() if isinstance(item.readers, Everyone) else item.readers, item.version)
        for key, item in followed.items.items()
    }


def expected(made: Firm) -> Mapping[str, tuple[str, frozenset[str], str]]:
    """The same with names as they are shown: what stands between slashes holds none."""
    cleaned = {key: made.drive.items[key] for key in made.expected()}
    result: dict[str, tuple[str, frozenset[str], str]] = {}
    for key, (_, readers, version) in made.expected().items():
        names: list[str] = []
        for item in made.drive.chain(cleaned[key].id):
            if item.id == made.root:
                break
            names.append(item.name.replace("/", "_"))
        result[key] = ("/".join(names[::-1]), readers, version)
    return result


async def followed(made: Firm, kept: Followed | None = None) -> Followed:
    """Read to the end."""
    kept = kept or Followed()
    async with reading(made) as source:
        assert await kept.read(source)
    return kept


async def test_a_first_reading_names_everything_with_its_place_and_its_readers() -> None:
    made = firm(files=60, folders=9)
    kept = await followed(made)
    assert told(kept) == expected(made)
    assert len(kept.items) == 60
    assert all(page.is_full for page in kept.pages)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), tells_below=st.booleans(), page=st.integers(1, 9))
async def test_after_any_course_of_edits_what_was_followed_is_what_is_there(
    seed: int, tells_below: bool, page: int
) -> None:
    made = firm(seed=seed, tells_below=tells_below, page=page, files=12, folders=5)
    kept = await followed(made)
    for _ in range(4):
        for _ in range(made.chance.randint(1, 6)):
            made.edit()
        await followed(made, kept)
        assert told(kept) == expected(made)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), tells_below=st.booleans(), page=st.integers(1, 9))
async def test_what_happens_during_a_reading_that_breaks_off_is_known_once_it_was_gone_on_with(
    seed: int, tells_below: bool, page: int
) -> None:
    made = firm(seed=seed, tells_below=tells_below, page=page, files=12, folders=5)
    edits = 12

    def meanwhile(_: str) -> None:
        nonlocal edits
        if edits and made.chance.random() < 0.3:
            edits -= 1
            made.edit()

    made.drive.before = meanwhile
    kept = Followed()
    done = False
    while edits or not done:
        async with reading(made) as source:
            done = await kept.read(source, most_pages=made.chance.randint(1, 4))
    made.drive.before = lambda _: None
    await followed(made, kept)
    assert told(kept) == expected(made)


async def test_a_large_folder_that_is_renamed_is_gone_through_though_each_reading_breaks_off() -> None:
    made = firm(files=0, folders=0, page=3)
    upper = made.drive.folder("old", made.root)
    for number in range(12):
        made.add(made.drive.folder(f"{number}", upper), "paper")
    kept = await followed(made)
    made.drive.rename(upper, "new")
    readings = 1
    async with reading(made) as source:
        while not await kept.read(source, most_pages=1):
            readings += 1
    assert told(kept) == expected(made)
    assert readings < 30


async def test_nothing_falls_between_the_listing_and_the_changes() -> None:
    made = firm(files=20)
    last = max(made.within(folders=False))
    first = min(made.within(folders=False))

    def meanwhile(path: str) -> None:
        if "pageToken" in path and "mimeType+%21%3D" in path:
            made.drive.write(first, b"other words")
            made.drive.before = lambda _: None

    made.drive.before = meanwhile
    kept = await followed(made)
    assert made.drive.items[first].content == b"other words"
    assert told(kept) == expected(made)
    assert last in kept.items


async def test_a_later_reading_asks_only_what_has_changed() -> None:
    made = firm(files=200, page=100)
    kept = await followed(made)
    made.drive.write(made.within(folders=False)[0], b"other words")
    made.drive.asked.clear()
    before = len(kept.pages)
    await followed(made, kept)
    assert [item.key for page in kept.pages[before:] for item in page.items] == [made.within(folders=False)[0]]
    assert not any("/files?" in path for path in made.drive.asked)


async def test_a_folder_that_is_renamed_or_moved_takes_what_is_below_it_along_though_the_feed_says_nothing_of_it() -> (
    None
):
    made = firm(files=0, folders=0)
    upper = made.drive.folder("2025", made.root)
    lower = made.drive.folder("Client", upper)
    paper = made.add(lower, "balance")
    kept = await followed(made)
    made.drive.rename(upper, "2026")
    await followed(made, kept)
    assert kept.items[paper].path == "2026/Client/balance.txt"
    made.drive.move(lower, made.root)
    await followed(made, kept)
    assert kept.items[paper].path == "Client/balance.txt"
    made.drive.move(lower, made.beside)
    await followed(made, kept)
    assert paper not in kept.items


async def test_what_lies_in_a_folder_that_is_trashed_deleted_or_no_longer_shared_is_gone() -> None:
    made = firm(files=0, folders=0)
    papers: list[str] = []
    folders = [made.drive.folder(name, made.root) for name in ("trashed", "deleted", "unshared", "kept")]
    papers = [made.add(made.drive.folder("deep", each), "paper") for each in folders]
    kept = await followed(made)
    made.drive.trash(folders[0])
    made.drive.delete(folders[1])
    made.drive.limit(folders[2])
    await followed(made, kept)
    assert set(kept.items) == {papers[3]}


@pytest.mark.parametrize(
    ("grants", "readers", "unexpanded"),
    [
        ([Grant("user", "Partner@Acme.Example")], {"partner@acme.example"}, ()),
        ([Grant("group", "tax@acme.example")], set[str](), ("tax@acme.example",)),
        ([Grant("user", "a@acme.example", more={"expirationTime": "2020-01-01T00:00:00Z"})], set[str](), ()),
        ([Grant("user", "a@acme.example", more={"expirationTime": "2999-01-01T00:00:00Z"})], {"a@acme.example"}, ()),
        ([Grant("user", "a@acme.example", more={"deleted": True})], set[str](), ()),
        ([Grant("user", "a@acme.example", more={"view": "metadata"})], set[str](), ()),
        ([Grant("anyone", more={"allowFileDiscovery": False})], set[str](), ()),
        ([Grant("domain", "acme.example", more={"allowFileDiscovery": False})], set[str](), ()),
        ([Grant("domain", "Acme.example", more={"allowFileDiscovery": True})], {"@acme.example"}, ()),
        ([Grant("somebody-new", "a@acme.example")], set[str](), ()),
    ],
)
async def test_nobody_reads_by_a_grant_that_does_not_show_the_item_to_him(
    grants: list[Grant], readers: set[str], unexpanded: tuple[str, ...]
) -> None:
    made = firm(files=0, folders=0)
    paper = made.drive.add("paper.txt", made.root, b"words", grants=grants)
    found = (await followed(made)).items[paper]
    assert found.readers == frozenset({OWNER, ROBOT, *readers})
    assert found.unexpanded == unexpanded


async def test_what_anyone_may_find_is_for_everyone() -> None:
    made = firm(files=0, folders=0)
    paper = made.drive.add("p.txt", made.root, b"w", grants=[Grant("anyone", more={"allowFileDiscovery": True})])
    assert (await followed(made)).items[paper].readers is EVERYONE


async def test_who_may_read_by_the_folder_above_may_until_the_folder_says_otherwise() -> None:
    made = firm(files=0, folders=0)
    folder = made.drive.folder("Client", made.root, [Grant("user", "partner@acme.example")])
    paper = made.drive.add("paper.txt", made.drive.folder("deep", folder), b"words")
    kept = await followed(made)
    assert kept.items[paper].readers == frozenset({OWNER, ROBOT, "partner@acme.example"})
    made.drive.grant(folder, [Grant("user", "manager@acme.example")])
    await followed(made, kept)
    assert kept.items[paper].readers == frozenset({OWNER, ROBOT, "manager@acme.example"})


async def test_a_grant_that_has_ended_ends_though_drive_tells_no_change_of_it() -> None:
    made = firm(files=0, folders=0)
    ends = datetime(2999, 1, 1, tzinfo=UTC)
    grant = Grant("user", "a@acme.example", more={"expirationTime": ends.isoformat()})
    paper = made.drive.add("paper.txt", made.root, b"words", grants=[grant])
    kept = await followed(made)
    assert kept.items[paper].readers == frozenset({OWNER, ROBOT, "a@acme.example"})
    kept.cursor = _as_if_now_were(kept.cursor, ends)
    grant.more["expirationTime"] = "2020-01-01T00:00:00Z"
    await followed(made, kept)
    assert kept.items[paper].readers == frozenset({OWNER, ROBOT})


def _as_if_now_were(cursor: str | None, ends: datetime) -> str:
    assert cursor is not None
    return cursor.replace(ends.strftime("%Y-%m-%dT%H:%M:%SZ"), "2020-01-01T00:00:00Z")


async def test_whom_drive_does_not_name_to_the_account_is_nobody_but_the_account_itself() -> None:
    made = firm(files=0, folders=0)
    made.drive.grant(made.root, [Grant("user", ROBOT, "reader")])
    paper = made.drive.add("paper.txt", made.root, b"words", grants=[Grant("user", "partner@acme.example")])
    found = (await followed(made)).items[paper]
    assert found.readers == frozenset({ROBOT})
    assert found.unexpanded


def shared_drive() -> tuple[Firm, str, dict[str, str]]:
    made = firm(files=0, folders=0)
    drive = made.drive.folder(
        "Shared", None, [Grant("user", ROBOT, "organizer"), Grant("user", "partner@acme.example", "organizer")],
        item_id="0AShared",
    )  # fmt: skip
    folder = made.drive.folder("Client", drive)
    more = made.drive.folder("More", drive, [Grant("user", "manager@acme.example")])
    closed = made.drive.folder("Closed", drive, [Grant("user", ROBOT, "organizer"), Grant("user", "a@acme.example")])
    made.drive.limit(closed)
    papers = {
        "plain": made.drive.add("plain.txt", folder, b"plain"),
        "own": made.drive.add("own.txt", folder, b"own", grants=[Grant("user", "b@acme.example")]),
        "more": made.drive.add("more.txt", more, b"more"),
        "closed": made.drive.add("closed.txt", closed, b"closed"),
    }
    return made, drive, papers


async def test_in_a_shared_drive_members_read_and_who_is_let_into_a_folder_or_a_file() -> None:
    made, drive, papers = shared_drive()
    kept = Followed()
    async with reading(made, DriveScope(drive_id=drive)) as source:
        await kept.read(source)
    members = {ROBOT, "partner@acme.example"}
    assert {name: kept.items[key].readers for name, key in papers.items()} == {
        "plain": frozenset(members),
        "own": frozenset(members | {"b@acme.example"}),
        "more": frozenset(members | {"manager@acme.example"}),
        "closed": frozenset({ROBOT, "a@acme.example"}),
    }
    assert kept.items[papers["plain"]].path == "Client/plain.txt"
    assert len(kept.items) == 4


async def test_who_is_let_into_a_folder_of_a_shared_drive_meanwhile_reads_once_the_reading_is_through() -> None:
    made, drive, papers = shared_drive()
    folder = made.drive.items[papers["more"]].parent
    assert folder is not None

    def meanwhile(path: str) -> None:
        if "changes?" in path:
            made.drive.before = lambda _: None
            made.drive.grant(folder, [Grant("user", "new@acme.example")])

    made.drive.before = meanwhile
    kept = Followed()
    async with reading(made, DriveScope(drive_id=drive)) as source:
        await kept.read(source)
    assert kept.items[papers["more"]].readers == frozenset({ROBOT, "partner@acme.example", "new@acme.example"})


async def test_who_leaves_a_shared_drive_reads_nothing_of_it_though_no_change_is_told() -> None:
    made, drive, papers = shared_drive()
    kept = Followed()
    async with reading(made, DriveScope(drive_id=drive)) as source:
        await kept.read(source)
    made.drive.items[drive].grants = [Grant("user", ROBOT, "organizer")]
    async with reading(made, DriveScope(drive_id=drive)) as source:
        await kept.read(source)
    assert kept.items[papers["plain"]].readers == frozenset({ROBOT})


async def test_a_folder_of_a_shared_drive_is_read_and_followed_though_its_drive_is_not_named() -> None:
    made, drive, papers = shared_drive()
    folder = made.drive.items[papers["plain"]].parent
    assert folder is not None
    scope = DriveScope(folder_id=folder)
    kept = Followed()
    async with reading(made, scope) as source:
        await kept.read(source)
    members = frozenset({ROBOT, "partner@acme.example"})
    assert {item.path: item.readers for item in kept.items.values()} == {
        "plain.txt": members,
        "own.txt": members | {"b@acme.example"},
    }
    made.drive.write(papers["plain"], b"other words")
    before = kept.items[papers["plain"]].version
    made.drive.asked.clear()
    async with reading(made, scope) as source:
        await kept.read(source)
    assert kept.items[papers["plain"]].version != before
    assert not any("/files?" in path for path in made.drive.asked)
    made.drive.items[drive].grants = [Grant("user", ROBOT, "organizer")]
    async with reading(made, scope) as source:
        await kept.read(source)
    assert kept.items[papers["plain"]].readers == frozenset({ROBOT})


@pytest.mark.parametrize("into", ["a shared drive", "no shared drive"])
async def test_a_folder_that_is_moved_to_another_drive_is_followed_there(into: str) -> None:
    made, drive, papers = shared_drive()
    folder = (
        made.drive.items[papers["plain"]].parent if into == "no shared drive" else made.drive.folder("F", made.root)
    )
    assert folder is not None
    paper = made.drive.add("paper.txt", folder, b"words")
    kept, scope = Followed(), DriveScope(folder_id=folder)
    async with reading(made, scope) as source:
        await kept.read(source)
    assert paper in kept.items
    made.drive.move(folder, drive if into == "a shared drive" else made.root)
    made.drive.write(paper, b"other words")
    async with reading(made, scope) as source:
        await kept.read(source)
        assert (await source.read(kept.items[paper], MOST_BYTES)).content == b"other words"
        made.drive.write(paper, b"still other words")
        before = kept.items[paper].version
        await kept.read(source)
    assert kept.items[paper].version != before


async def test_a_folder_that_does_not_lie_in_the_drive_that_is_named_with_it_is_refused() -> None:
    made, drive, papers = shared_drive()
    other = made.drive.folder("Other", None, [Grant("user", ROBOT, "organizer")], item_id="0AOther")
    for scope in (DriveScope(folder_id=made.root, drive_id=drive),
                  DriveScope(folder_id=made.drive.items[papers["plain"]].parent, drive_id=other)):  # fmt: skip
        async with reading(made, scope) as source:
            with pytest.raises(SourceRefused, match="does not lie in the shared drive"):
                await Followed().read(source)


async def test_a_folder_of_a_shared_drive_of_which_the_account_is_no_member_is_refused_and_never_empty() -> None:
    made, drive, papers = shared_drive()
    folder = made.drive.items[papers["plain"]].parent
    assert folder is not None
    made.drive.items[drive].grants = [Grant("user", "partner@acme.example", "organizer")]
    made.drive.items[folder].grants = [Grant("user", ROBOT, "writer")]
    async with reading(made, DriveScope(folder_id=folder)) as source:
        with pytest.raises(SourceRefused, match="by its members alone"):
            await Followed().read(source)


async def test_without_a_folder_all_is_read_that_is_shown_to_the_account() -> None:
    made = firm(files=0, folders=0)
    papers = [made.add(made.root, "in"), made.add(made.beside, "beside"), made.add(made.private, "private")]
    kept = Followed()
    async with reading(made, DriveScope()) as source:
        await kept.read(source)
    assert {key: item.path for key, item in kept.items.items()} == {
        papers[0]: "Audit/in.txt",
        papers[1]: "Beside/beside.txt",
    }


async def test_a_person_reads_by_a_refresh_token_what_is_in_the_own_drive() -> None:
    made = firm(files=0, folders=0)
    paper = made.add(made.private, "private")
    kept = Followed()
    async with reading(made, DriveScope(), credentials=person_credentials(TOKEN_URL)) as source:
        await kept.read(source)
    assert kept.items[paper].path == "Private/private.txt"


async def test_googles_own_documents_come_as_office_files_and_other_kinds_say_why_not() -> None:
    made = firm(files=0, folders=0)
    letter = made.drive.add("Letter", made.root, b"Dear client", mime=f"{NATIVE}document")
    large = made.drive.add("Large", made.root, b"x", mime=f"{NATIVE}spreadsheet")
    made.drive.items[large].exported_bytes = 11 * 1024 * 1024
    form = made.drive.add("Form", made.root, mime=f"{NATIVE}form")
    made.drive.add("Short", made.root, mime=f"{NATIVE}shortcut")
    async with reading(made) as source:
        kept = Followed()
        await kept.read(source)
        assert {item.path for item in kept.items.values()} == {"Letter.docx", "Large.xlsx", "Form"}
        content = await source.read(kept.items[letter], MOST_BYTES)
        assert (content.file_name, content.content[:2]) == ("Letter.docx", b"PK")
        with pytest.raises(ItemUnreadable, match="10 MB"):
            await source.read(kept.items[large], MOST_BYTES)
        with pytest.raises(ItemUnreadable, match="form"):
            await source.read(kept.items[form], MOST_BYTES)


async def test_a_file_that_cannot_be_had_costs_itself_alone() -> None:
    made = firm(files=4, folders=0)
    gone, withheld, grown, fine = made.within(folders=False)
    kept = await followed(made)
    made.drive.delete(gone)
    made.drive.items[withheld].withheld = True
    made.drive.items[grown].content = b"x" * 2000
    async with reading(made) as source:
        with pytest.raises(ItemGone, match="not there"):
            await source.read(kept.items[gone], MOST_BYTES)
        with pytest.raises(ItemUnreadable, match="nobody download"):
            await source.read(kept.items[withheld], MOST_BYTES)
        with pytest.raises(ItemUnreadable, match="larger"):
            await source.read(kept.items[grown], 1000)
        assert (await source.read(kept.items[fine], MOST_BYTES)).content == made.drive.items[fine].content


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "downloadQuotaExceeded"), (403, "cannotDownloadFile"), (403, "x")]
)
async def test_what_drive_may_give_another_day_without_any_change_is_to_be_tried_again(
    status: int, reason: str
) -> None:
    made = firm(files=1, folders=0)
    (found,) = (await followed(made)).items.values()
    made.drive.faults.append(Refused(status, reason))
    async with reading(made) as source:
        with pytest.raises(ItemUnavailable):
            await source.read(found, MOST_BYTES)


async def test_a_file_at_which_drive_fails_costs_itself_and_a_drive_that_fails_at_all_is_left_alone() -> None:
    made = firm(files=2, folders=0)
    broken, fine = made.within(folders=False)
    kept = await followed(made)
    made.drive.fails[broken] = 500
    async with reading(made) as source:
        with pytest.raises(ItemUnavailable, match="backendError"):
            await source.read(kept.items[broken], MOST_BYTES)
        assert (await source.read(kept.items[fine], MOST_BYTES)).content == made.drive.items[fine].content
        made.drive.every = {1: Refused(500, "backendError")}
        with pytest.raises(SourceUnavailable):
            await source.read(kept.items[fine], MOST_BYTES)
        made.drive.every = {1: Refused(429, "rateLimitExceeded")}
        with pytest.raises(SourceUnavailable):
            await source.read(kept.items[fine], MOST_BYTES)


async def test_rate_limits_and_faults_on_the_way_are_waited_out() -> None:
    made = firm(files=60, folders=9)
    made.drive.every = {
        3: Refused(403, "userRateLimitExceeded"),
        5: Refused(503, "backendError"),
        7: Refused(429, "rateLimitExceeded", {"Retry-After": "2"}),
    }
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    kept = Followed()
    async with reading(made, around=Surroundings(sleep=wait, chance=lambda: 0.0)) as source:
        assert await kept.read(source)
    assert told(kept) == expected(made)
    assert min(waits) >= 1
    assert any(2 <= pause < 3 for pause in waits)


async def test_a_drive_that_stays_busy_is_left_alone_for_as_long_as_it_asks() -> None:
    made = firm()
    made.drive.faults.extend([Refused(429, "rateLimitExceeded", {"Retry-After": "90"})])
    async with reading(made) as source:
        with pytest.raises(SourceUnavailable) as away:
            await Followed().read(source)
    assert away.value.retry_after == timedelta(seconds=90)


async def test_a_drive_that_fails_each_time_is_asked_so_often_and_no_more() -> None:
    made = firm()
    made.drive.every = {1: Refused(500, "backendError")}
    async with reading(made, manners=Manners(tries=3)) as source:
        with pytest.raises(SourceUnavailable):
            await Followed().read(source)
    assert len([path for path in made.drive.asked if f"/files/{made.root}" in path]) == 3


async def test_an_access_token_that_ends_on_the_way_is_renewed() -> None:
    made = firm(files=60)
    made.drive.uses_of_a_token = 3
    kept = await followed(made)
    assert told(kept) == expected(made)
    assert made.drive.asked.count("/token") > 3


async def test_an_access_token_serves_until_shortly_before_its_end() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    clock = _Clock(now)
    made = firm()
    person = person_credentials(TOKEN_URL)
    async with reading(
        made, DriveScope(), credentials=person, around=Surroundings(sleep=no_wait, clock=clock)
    ) as source:
        kept = Followed()
        await kept.read(source)
        clock.now += timedelta(minutes=57)
        await kept.read(source)
        assert made.drive.asked.count("/token") == 1
        clock.now += timedelta(minutes=2)
        await kept.read(source)
        assert made.drive.asked.count("/token") == 2


@dataclass
class _Clock:
    now: datetime

    def __call__(self) -> datetime:
        return self.now


async def test_changes_that_drive_remembers_no_more_are_listed_anew() -> None:
    made = firm()
    kept = await followed(made)
    made.drive.delete(made.within(folders=False)[0])
    made.drive.rename(made.within(folders=True)[0], "renamed")
    made.drive.forgets_below = 10**6
    with pytest.raises(SourceRefused):
        await followed(made, kept)
    made.drive.forgets_below = 60
    for _ in range(60):
        made.edit()
    await followed(made, kept)
    await followed(made, kept)
    assert told(kept) == expected(made)


async def test_a_listing_whose_page_is_known_no_more_begins_again_and_loses_nothing() -> None:
    made = firm(files=40, folders=3)
    kept = Followed()
    async with reading(made) as source:
        assert not await kept.read(source, most_pages=2)
    made.drive.delete(next(iter(kept.items)))
    made.drive.forgets_listings = True
    await followed(made, kept)
    await followed(made, kept)
    assert told(kept) == expected(made)


async def test_once_a_day_all_is_listed_whatever_the_feed_says() -> None:
    made = firm()
    clock = _Clock(datetime.now(UTC))
    async with reading(made, around=Surroundings(sleep=no_wait, clock=clock)) as source:
        kept = Followed()
        await kept.read(source)
        untold = made.within(folders=False)[0]
        made.drive.items[untold].content = b"changed behind the feed's back"
        await kept.read(source)
        assert told(kept) != expected(made)
    clock.now += timedelta(days=1)
    kept.cursor = (kept.cursor or "").replace(str(clock.now.year), str(clock.now.year - 1))
    await followed(made, kept)
    assert told(kept) == expected(made)


async def test_a_cursor_of_another_folder_or_of_nothing_begins_anew() -> None:
    made = firm()
    other = Followed()
    async with reading(made, DriveScope(folder_id=made.beside)) as source:
        await other.read(source)
    for cursor in (other.cursor, "nonsense", "{}", ""):
        kept = Followed(cursor=cursor)
        await followed(made, kept)
        assert told(kept) == expected(made)


@pytest.mark.parametrize("what", ["deleted", "a file", "unshared"])
async def test_a_folder_that_is_none_for_us_is_refused_and_nothing_is_said_to_be_gone(what: str) -> None:
    made = firm()
    kept = await followed(made)
    names = dict(kept.items)
    kept.cursor = None
    match what:
        case "deleted":
            made.drive.delete(made.root)
        case "a file":
            made.drive.items[made.root].mime = "text/plain"
        case _:
            made.drive.grant(made.root, [])
    with pytest.raises(SourceRefused):
        await followed(made, kept)
    assert kept.items == names


async def test_credentials_that_google_takes_no_more_are_said_so() -> None:
    made = firm()
    made.drive.refresh_tokens.clear()
    async with reading(made, credentials=person_credentials(TOKEN_URL)) as source:
        with pytest.raises(SourceRefused, match="withdrawn") as refused:
            await Followed().read(source)
    assert "1//refresh" not in str(refused.value)


async def test_a_service_account_vouches_for_itself_by_its_key() -> None:
    made = firm()
    kept = Followed()
    async with reading(made, credentials=robot_credentials(TOKEN_URL)) as source:
        await kept.read(source)
    assert told(kept) == expected(made)


async def test_reading_with_the_eyes_of_a_person_needs_the_administrators_word() -> None:
    made = firm(files=0, folders=0)
    paper = made.add(made.private, "private")
    robot = robot_credentials(TOKEN_URL)
    async with reading(made, DriveScope(), credentials=robot, impersonated=OWNER) as source:
        with pytest.raises(SourceRefused):
            await Followed().read(source)
        made.drive.may_impersonate = True
        kept = Followed()
        await kept.read(source)
    assert paper in kept.items


async def test_a_read_item_says_where_a_person_opens_it() -> None:
    made = firm(files=1, folders=0)
    (found,) = (await followed(made)).items.values()
    assert isinstance(found, Found)
    assert found.url == f"https://drive.google.com/file/d/{found.key}/view"
