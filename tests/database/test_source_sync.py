"""A folder is kept as documents, and so is a drive: what happens there happens here, for whom it is there it is here.

Whatever stops a sync, another step goes on where it was.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, cast
from uuid import UUID

import pytest

from domain.kernel import Principal, utc_now
from knowledge.sources.folder import FolderRoot, OpenFolder
from knowledge.sources.port import (
    EVERYONE,
    Changes,
    Content,
    Found,
    Gone,
    ItemGone,
    ItemUnavailable,
    ItemUnreadable,
    Readers,
    SourceRefused,
    SourceUnavailable,
)
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.worker.task_runs import TaskRunWorker
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.handlers import source_handlers
from tools.outcomes import CallOutcome, Json

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
CLIENT = principal_of(who="client", mode="person", door="rest")
HUB = principal_of(who="service", door="worker")
CURRENT = """
SELECT document_id, title, uri, audience, coalesce(line_id, document_id) AS line, edition, status
FROM knowledge_documents
WHERE source_id = $1 AND deleted_at IS NULL AND replaced_by IS NULL ORDER BY uri
"""


@dataclass(slots=True)
class Drive:
    """A source whose items have lasting ids and readers, and which tells what changed since a cursor."""

    lasting: ClassVar[frozenset[str]] = frozenset({"account"})

    items: dict[str, tuple[str, bytes, Readers]] = field(default_factory=dict[str, tuple[str, bytes, Readers]])
    """By key: path, content, readers."""
    told: list[dict[str, tuple[str, bytes, Readers]]] = field(
        default_factory=list[dict[str, tuple[str, bytes, Readers]]]
    )
    away: int = 0
    """Reads that fail before it answers again."""
    retry_after: timedelta | None = None
    refuses: bool = False
    reads: int = 0
    hides: set[str] = field(default_factory=set[str])
    """Items that were taken away after they were told of."""
    busy: set[str] = field(default_factory=set[str])
    """Items that it does not give now."""
    page: int = 3

    def check(self, settings: Mapping[str, object], organization: str) -> Mapping[str, object]:
        return settings

    @asynccontextmanager
    async def __call__(self, settings: Mapping[str, object], organization: str) -> AsyncGenerator["Drive"]:
        if self.refuses:
            raise SourceRefused("the drive does not know this account")
        if self.away:
            self.away -= 1
            raise SourceUnavailable("the drive asks for patience", self.retry_after)
        yield self

    async def changes(self, cursor: str | None) -> AsyncIterator[Changes]:
        if cursor is None or cursor.startswith("full"):
            for page in self._full(0 if cursor is None else int(cursor.split("/")[1])):
                yield page
            return
        before = self.told[int(cursor)]
        found = [self._found(key) for key in self.items if before.get(key) != self.items[key]]
        gone = [Gone(key=key) for key in before if key not in self.items]
        self.told.append(dict(self.items))
        changes = (*found, *gone)
        yield Changes(items=changes, cursor=str(len(self.told) - 1), is_full=False, is_last=True)

    def _full(self, start: int) -> list[Changes]:
        keys = sorted(self.items)
        pages: list[Changes] = []
        while start + self.page < len(keys):
            items = tuple(self._found(key) for key in keys[start : start + self.page])
            start += self.page
            pages.append(Changes(items=items, cursor=f"full/{start}", is_full=True, is_last=False))
        self.told.append(dict(self.items))
        items = tuple(self._found(key) for key in keys[start:])
        pages.append(Changes(items=items, cursor=str(len(self.told) - 1), is_full=True, is_last=True))
        return pages

    def _found(self, key: str) -> Found:
        path, content, readers = self.items[key]
        return Found(
            key=key,
            path=path,
            version=str(hash(content)),
            media_type=None,
            size=len(content),
            readers=readers,
            unexpanded=("staff@groups.example",) if not isinstance(readers, type(EVERYONE)) else (),
        )

    async def read(self, item: Found, most_bytes: int) -> Content:
        self.reads += 1
        if item.key in self.hides:
            raise ItemGone("it is not there any more")
        if item.key in self.busy:
            raise ItemUnavailable("it was downloaded too often today")
        if item.key not in self.items:
            raise ItemUnreadable("it is not there any more")
        path, content, _ = self.items[item.key]
        return Content(content=content, file_name=path.rsplit("/", 1)[-1], declared_type=None)


@pytest.fixture
def drive() -> Drive:
    return Drive()


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    papers = tmp_path / "root" / "papers"
    papers.mkdir(parents=True)
    return papers


@pytest.fixture
async def gate(
    pools: DatabasePools, owner_connection: Connection, drive: Drive, tmp_path: Path, papers: Path
) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    await owner_connection.execute(
        "INSERT INTO autonomy_settings (organization_id, setting_id, scope, level, changed_by, changed_at) "
        "VALUES ($1, gen_random_uuid(), 'organization', 2, $2, clock_timestamp())",
        FIRM_A.organization_id,
        FIRM_A.id("partner"),
    )
    roots = [FolderRoot(path=tmp_path / "root", organizations=frozenset({"firm-1"}))]
    async with gate_on(pools, sources={"folder": OpenFolder(lambda: roots), "google_drive": drive}) as opened:
        yield opened


@pytest.fixture
def worker(gate: GateOnTest, pools: DatabasePools) -> TaskRunWorker:
    return TaskRunWorker(
        gate=gate.gate,
        transactions=gate.transactions,
        identities=PostgresIdentities(pools.app),
        workflows=gate.workflows,
        clock=utc_now,
    )


def result_of(outcome: CallOutcome) -> Json:
    assert outcome.outcome == "done", outcome
    assert outcome.result is not None
    return outcome.result


async def added(gate: GateOnTest, kind: str = "google_drive", **more: object) -> Json:
    asked: Json = {"kind": kind, "name": "Papers", "settings": {}, **more}
    return cast(Json, result_of(await gate.call("source_add", asked, PARTNER))["source"])


async def synced(gate: GateOnTest, source: Json) -> str:
    """Step by step, until nothing is left to be done; then what is new is indexed."""
    for _ in range(200):
        step = result_of(await gate.call("source_sync", {"source_id": source["source_id"]}, HUB))
        if not step["more"]:
            await indexed(gate)
            return str(step["message"])
    raise AssertionError("it never ends")


async def indexed(gate: GateOnTest) -> None:
    while gate.queue.jobs:
        job = gate.queue.jobs.pop(0)
        if job.kind == "document_index":
            await gate.call("document_index", {"document_id": str(job.subject_id)}, HUB)


async def current(owner: Connection, source: Json) -> list[tuple[str, str]]:
    return [(row["title"], row["uri"]) for row in await owner.fetch(CURRENT, UUID(str(source["source_id"])))]


async def found(gate: GateOnTest, query: str, who: Principal = PARTNER) -> set[str]:
    items = cast("list[Json]", result_of(await gate.call("knowledge_search", {"query": query}, who))["items"])
    return {str(item["title"]) for item in items}


async def report(gate: GateOnTest, source: Json, who: Principal = PARTNER) -> list[tuple[str, str]]:
    told = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, who))
    return [(str(item["kind"]), str(item["path"])) for item in cast("list[Json]", told["items"])]


async def test_a_folder_is_followed_through_everything_that_happens_to_it(
    gate: GateOnTest, owner_connection: Connection, papers: Path
) -> None:
    (papers / "a.md").write_text("The albatross is insured.")
    (papers / "sub").mkdir()
    (papers / "sub" / "b.md").write_text("The basilisk is insured.")
    (papers / "c.md").write_text("The chimera is insured.")
    source = await added(gate, "folder", settings={"path": str(papers)})
    assert await synced(gate, source) == "3 added"
    assert await found(gate, "albatross basilisk chimera") == {"a", "b", "c"}
    before = await owner_connection.fetch(CURRENT, UUID(str(source["source_id"])))
    assert [row["uri"] for row in before] == ["Papers/a.md", "Papers/c.md", "Papers/sub/b.md"]

    assert await synced(gate, source) == "nothing has changed"
    assert len(await report(gate, source)) == 3

    (papers / "a.md").write_text("The dragon is insured.")
    (papers / "sub").rename(papers / "moved")
    (papers / "c.md").unlink()
    (papers / "d.md").write_text("The echidna is insured.")
    assert set((await synced(gate, source)).split(", ")) == {"1 added", "1 replaced", "1 renamed", "1 removed"}
    assert await found(gate, "albatross chimera") == set()
    assert await found(gate, "dragon basilisk echidna") == {"a", "b", "d"}
    after = await owner_connection.fetch(CURRENT, UUID(str(source["source_id"])))
    assert [(row["uri"], row["edition"]) for row in after] == [
        ("Papers/a.md", 2),
        ("Papers/d.md", 1),
        ("Papers/moved/b.md", 1),
    ]
    assert after[2]["document_id"] == before[2]["document_id"]
    assert after[0]["line"] == before[0]["line"]
    assert set(await report(gate, source)) >= {("renamed", "moved/b.md"), ("removed", "c.md"), ("replaced", "a.md")}
    shown = cast(Json, result_of(await gate.call("source_report", {"source_id": source["source_id"]}, HAND))["source"])
    assert (shown["documents"], shown["state"]) == (3, "idle")


async def test_a_file_that_an_editor_writes_anew_under_the_same_name_is_a_new_version_and_never_missing(
    gate: GateOnTest, owner_connection: Connection, papers: Path
) -> None:
    (papers / "a.md").write_text("The albatross is insured.")
    source = await added(gate, "folder", settings={"path": str(papers)})
    await synced(gate, source)
    (papers / "a.tmp").write_text("The albatross is insured, and the dragon too.")
    (papers / "a.tmp").rename(papers / "a.md")
    while result_of(await gate.call("source_sync", {"source_id": source["source_id"]}, HUB))["more"]:
        assert await found(gate, "albatross") == {"a"}
    assert await found(gate, "albatross") == {"a"}
    await indexed(gate)
    assert await found(gate, "dragon") == {"a"}
    assert len(await current(owner_connection, source)) == 1


async def test_what_leads_out_of_the_folder_or_is_no_file_is_never_read(
    gate: GateOnTest, owner_connection: Connection, papers: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text("The unicorn is secret.")
    (papers / "link.md").symlink_to(secret)
    (papers / "folder").symlink_to(tmp_path)
    (papers / ".hidden.md").write_text("The unicorn is hidden.")
    (papers / "loop").symlink_to(papers)
    os.mkfifo(papers / "pipe.md")
    (papers / "bad\udce9.md".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")).write_text(
        "odd albatross"
    )
    (papers / "\u202egnp.md").write_text("The basilisk reads from right to left.")
    (papers / "line\nbreak.md").write_text("The chimera is broken.")
    (papers / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    source = await added(gate, "folder", settings={"path": str(papers)})
    assert await synced(gate, source) == "1 failed, 3 added"
    assert await found(gate, "unicorn") == set()
    assert len(await found(gate, "albatross basilisk chimera")) == 3
    assert ("failed", "image.png") in await report(gate, source)


@pytest.mark.parametrize("path", ["/", "/etc", "..", "{root}/../secret", "{root}/papers/link", "{root}2"])
async def test_a_folder_that_the_operator_does_not_let_be_read_is_refused(
    gate: GateOnTest, papers: Path, tmp_path: Path, path: str
) -> None:
    (tmp_path / "secret").mkdir()
    (papers / "link").symlink_to(tmp_path / "secret")
    asked: Json = {
        "kind": "folder",
        "name": "Papers",
        "settings": {"path": path.replace("{root}", str(tmp_path / "root"))},
    }
    outcome = await gate.call("source_add", asked, PARTNER)
    if outcome.outcome == "done":  # a link is found out when it is opened
        source = cast(Json, result_of(outcome)["source"])
        assert result_of(await gate.call("source_sync", {"source_id": source["source_id"]}, HUB))["more"]
        shown = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, PARTNER))
        assert "no folder that this server may list" in str(cast(Json, shown["source"])["failure"])
    else:
        assert (outcome.outcome, outcome.error and outcome.error.code) == ("invalid", "source_refused")


async def test_another_organization_reads_no_folder_of_this_ones_and_sees_no_source_of_it(
    gate: GateOnTest, papers: Path
) -> None:
    other = principal_of(FIRM_B, "partner", mode="person", door="rest")
    asked: Json = {"kind": "folder", "name": "Papers", "settings": {"path": str(papers)}}
    outcome = await gate.call("source_add", asked, other)
    assert (outcome.outcome, outcome.error and outcome.error.code) == ("invalid", "source_refused")
    source = await added(gate)
    for tool in ("source_report", "source_remove"):
        refused = await gate.call(tool, {"source_id": source["source_id"]}, other)
        assert (refused.error and refused.error.code) == "source_not_found", tool
    listed = result_of(await gate.call("source_list", {}, other))
    assert source["source_id"] not in {item["source_id"] for item in cast("list[Json]", listed["items"])}


async def test_what_the_source_shows_to_some_is_found_by_those_and_what_changes_there_takes_effect(
    gate: GateOnTest, owner_connection: Connection, drive: Drive
) -> None:
    some: Readers = frozenset({"Employee@firm-1.example", "stranger@elsewhere.example", "client@firm-1.example"})
    drive.items = {
        "1": ("Wages/one.md", b"The albatross earns much.", some),
        "2": ("two.md", b"The basilisk is for all.", EVERYONE),
        "3": ("three.md", b"The chimera is for nobody.", frozenset()),
    }
    source = await added(gate)
    assert await synced(gate, source) == "3 added"
    query = "albatross basilisk chimera"
    assert await found(gate, query) == {"two"}
    assert await found(gate, query, HAND) == {"one", "two"}
    assert await found(gate, query, principal_of(door="chat")) == {"one", "two"}
    assert await found(gate, query, CLIENT) == set()
    assert await report(gate, source) == [("added", "two.md")]
    shown = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, HAND))
    told = cast(Json, cast(Json, shown["source"])["report"])
    assert (told["unknown_readers"], told["unexpanded"]) == (2, ["staff@groups.example"])
    assert (await gate.call("source_list", {}, CLIENT)).result == {"items": [], "next_cursor": None}

    reads = drive.reads
    drive.items["1"] = (*drive.items["1"][:2], frozenset({"partner@firm-1.example"}))
    drive.items["2"] = (*drive.items["2"][:2], frozenset({"employee@firm-1.example"}))
    assert await synced(gate, source) == "2 permissions changed"
    assert drive.reads == reads
    assert await found(gate, query) == {"one"}
    assert await found(gate, query, HAND) == {"two"}

    drive.items["1"] = ("Wages/first.md", b"The albatross earns more.", EVERYONE)
    await synced(gate, source)
    assert await found(gate, query, HAND) == {"first", "two"}


async def test_what_was_deleted_here_is_not_taken_in_again_and_what_is_gone_there_goes_with_its_earlier_versions(
    gate: GateOnTest, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EVERYONE), "2": ("two.md", b"The basilisk.", EVERYONE)}
    source = await added(gate)
    await synced(gate, source)
    rows = await owner_connection.fetch(CURRENT, UUID(str(source["source_id"])))
    result_of(await gate.call("document_delete", {"document_id": str(rows[0]["document_id"])}, PARTNER))
    drive.items["1"] = ("one.md", b"The albatross again.", EVERYONE)
    drive.items["2"] = ("two.md", b"The basilisk again.", EVERYONE)
    assert set((await synced(gate, source)).split(", ")) == {"1 kept out", "1 replaced"}
    assert await found(gate, "albatross basilisk") == {"two"}
    del drive.items["2"]
    assert await synced(gate, source) == "1 removed"
    left = await owner_connection.fetchval(
        "SELECT count(*) FROM knowledge_documents WHERE source_id = $1 AND deleted_at IS NULL",
        UUID(str(source["source_id"])),
    )
    assert left == 0


async def test_what_is_gone_there_can_be_restored_here_for_as_long_as_the_operator_says(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EVERYONE)}
    handlers = {**source_handlers({"google_drive": drive}, grace=lambda: timedelta(days=2))}
    async with gate_on(pools, replaced=handlers) as short:
        source = await added(short)
        await synced(short, source)
        del drive.items["1"]
        assert await synced(short, source) == "1 removed"
    (row,) = await owner_connection.fetch(
        "SELECT purge_at - deleted_at AS time FROM knowledge_documents WHERE source_id = $1",
        UUID(str(source["source_id"])),
    )
    assert row["time"] == timedelta(days=2)


EMPLOYEES, PARTNERS = frozenset({"employee@firm-1.example"}), frozenset({"partner@firm-1.example"})


async def test_who_reads_it_no_more_does_not_wait_for_the_content_that_changed_with_it(
    gate: GateOnTest, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EMPLOYEES | PARTNERS)}
    source = await added(gate)
    await synced(gate, source)
    assert await found(gate, "albatross", HAND) == {"one"}
    drive.items["1"] = ("one.md", b"The albatross is let go.", PARTNERS)
    result_of(await gate.call("source_sync", {"source_id": source["source_id"]}, HUB))
    # What changed is known; whoever reads it next is asked for patience.
    drive.away, drive.retry_after = 1, timedelta(hours=1)
    for _ in range(2):
        result_of(await gate.call("source_sync", {"source_id": source["source_id"]}, HUB))
    assert drive.away == 0
    assert await found(gate, "albatross", HAND) == set()
    assert await found(gate, "albatross") == {"one"}


async def test_what_lies_deleted_here_is_restored_for_those_who_read_it_there_by_then(
    gate: GateOnTest, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EMPLOYEES | PARTNERS)}
    source = await added(gate)
    await synced(gate, source)
    (row,) = await owner_connection.fetch(CURRENT, UUID(str(source["source_id"])))
    document = {"document_id": str(row["document_id"])}
    result_of(await gate.call("document_delete", document, PARTNER))
    drive.items["1"] = ("one.md", b"The albatross.", PARTNERS)
    assert await synced(gate, source) == "nothing has changed"
    result_of(await gate.call("document_restore", document, PARTNER))
    await indexed(gate)
    assert await found(gate, "albatross", HAND) == set()
    assert await found(gate, "albatross") == {"one"}


async def told_of(gate: GateOnTest, source: Json, who: Principal) -> str:
    """All that the report and the documents say to one."""
    told = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, who))["items"]
    return str(told)


@pytest.mark.parametrize("at_once", ["renamed", "replaced"])
async def test_who_reads_an_item_only_now_hears_of_no_name_that_it_had(
    gate: GateOnTest, owner_connection: Connection, drive: Drive, at_once: str
) -> None:
    drive.items = {"1": ("Layoffs/Layoff of Bob.md", b"The albatross.", EMPLOYEES)}
    source = await added(gate)
    await synced(gate, source)
    drive.items["1"] = ("Layoffs/Layoff of Bob.md", b"The basilisk.", EMPLOYEES)
    await synced(gate, source)
    content = b"The basilisk." if at_once == "renamed" else b"The chimera."
    drive.items["1"] = ("Staff/Changes.md", content, EMPLOYEES | PARTNERS)
    await synced(gate, source)
    assert ("permissions", "Staff/Changes.md") in await report(gate, source)
    assert "Layoff" not in await told_of(gate, source, PARTNER)
    assert "Layoff" in await told_of(gate, source, HAND)
    # Each version is called as the item is by now, for whoever opens it.
    rows = await owner_connection.fetch(
        "SELECT title, uri FROM knowledge_documents WHERE source_id = $1", UUID(str(source["source_id"]))
    )
    assert len(rows) == (2 if at_once == "renamed" else 3)
    assert {(row["title"], row["uri"]) for row in rows} == {("Changes", "Papers/Staff/Changes.md")}
    assert await found(gate, "changes") == {"Changes"}


async def test_a_rename_that_is_no_change_of_readers_tells_the_name_before(gate: GateOnTest, drive: Drive) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EMPLOYEES)}
    source = await added(gate)
    await synced(gate, source)
    drive.items["1"] = ("other.md", b"The albatross.", EMPLOYEES)
    assert await synced(gate, source) == "1 renamed"
    told = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, HAND))
    assert cast("list[Json]", told["items"])[0]["was"] == "one.md"
    drive.items["1"] = ("other.md", b"The albatross.", PARTNERS)
    await synced(gate, source)
    assert "one.md" not in await told_of(gate, source, PARTNER)


async def test_who_read_an_item_hears_that_it_is_gone_by_the_name_it_had_for_them(
    gate: GateOnTest, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EMPLOYEES)}
    source = await added(gate)
    await synced(gate, source)
    drive.items["1"] = ("Layoff of Bob.md", b"The albatross.", PARTNERS)
    result_of(await gate.call("source_sync", {"source_id": source["source_id"]}, HUB))
    # Before it is brought in here it is gone there.
    await owner_connection.execute("UPDATE knowledge_source_items SET is_gone = true WHERE item_key = '1'")
    assert await synced(gate, source) == "1 removed"
    assert ("removed", "one.md") in await report(gate, source, HAND)
    assert "Layoff" not in await told_of(gate, source, HAND)


async def test_what_lies_deleted_here_is_called_as_it_is_there_by_then(gate: GateOnTest, drive: Drive) -> None:
    drive.items = {"1": ("Layoff of Bob.md", b"The albatross.", EMPLOYEES | PARTNERS)}
    source = await added(gate)
    await synced(gate, source)
    listed = cast("list[Json]", result_of(await gate.call("knowledge_search", {"query": "albatross"}, HAND))["items"])
    document: Json = {"document_id": listed[0]["document_id"]}
    result_of(await gate.call("document_delete", document, PARTNER))
    drive.items["1"] = ("Changes.md", b"The albatross.", PARTNERS)
    await synced(gate, source)
    result_of(await gate.call("document_restore", document, PARTNER))
    await indexed(gate)
    assert await found(gate, "albatross") == {"Changes"}


async def test_who_removes_a_source_is_told_of_the_documents_that_they_may_see(gate: GateOnTest, drive: Drive) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EMPLOYEES), "2": ("two.md", b"The basilisk.", PARTNERS)}
    source = await added(gate)
    await synced(gate, source)
    asked: Json = {"source_id": source["source_id"]}
    before = cast(Json, result_of(await gate.call("source_report", asked, PARTNER))["source"])
    removed = cast(Json, result_of(await gate.call("source_remove", asked, PARTNER))["source"])
    assert (before["documents"], removed["documents"]) == (1, 1)


async def test_a_drive_that_is_empty_now_is_believed(
    gate: GateOnTest, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {str(n): (f"{n}.md", f"The albatross {n}.".encode(), EVERYONE) for n in range(25)}
    source = await added(gate)
    await synced(gate, source)
    drive.items.clear()
    # As once a day, and where the drive has forgotten the cursor: all is listed anew.
    await owner_connection.execute("UPDATE knowledge_sources SET cursor = NULL")
    assert await synced(gate, source) == "25 removed"
    assert await found(gate, "albatross") == set()


async def test_a_source_that_rests_is_removed_at_once_and_its_task_reads_nothing_more(
    gate: GateOnTest, worker: TaskRunWorker, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EVERYONE)}
    source = await added(gate)
    await synced(gate, source)
    gate.queue.jobs.clear()
    result_of(await gate.call("task_run", {"task_id": source["task_id"]}, HAND))
    drive.away, drive.retry_after = 1, timedelta(hours=1)
    await worker.work(gate.queue.jobs.pop())
    result_of(await gate.call("source_remove", {"source_id": source["source_id"]}, PARTNER))
    await worker.work(gate.queue.jobs.pop())
    assert await found(gate, "albatross") == set()
    drive.items["2"] = ("two.md", b"The basilisk.", EVERYONE)
    reads = drive.reads
    step = result_of(await gate.call("source_sync", {"source_id": source["source_id"]}, HUB))
    assert (step["more"], drive.reads) == (False, reads)


async def test_an_upload_of_the_same_name_and_content_and_a_document_of_a_source_leave_one_another_alone(
    gate: GateOnTest, owner_connection: Connection, drive: Drive
) -> None:
    content = b"The albatross is insured."
    drive.items = {"1": ("one.md", content, EVERYONE)}
    source = await added(gate)
    await synced(gate, source)
    for uri in ({}, {"uri": "Papers/one.md"}):
        async with gate.staging.holding(PARTNER, content) as digest:
            asked: Json = {
                "title": "one",
                "file_name": "one.md",
                "content_sha256": digest,
                "size_bytes": len(content),
                **uri,
            }
            assert "unchanged" not in result_of(await gate.call("document_upload", asked, PARTNER))
    drive.items["1"] = ("one.md", b"The basilisk.", EVERYONE)
    assert await synced(gate, source) == "1 replaced"
    assert len(await found(gate, "albatross")) == 1


async def test_what_was_gone_when_it_was_read_is_taken_in_once_it_is_back_just_as_it_was(
    gate: GateOnTest, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross is insured.", EVERYONE)}
    drive.hides = {"1"}
    source = await added(gate)
    assert await synced(gate, source) == "nothing has changed"
    drive.hides = set()
    drive.told[-1].clear()
    assert await synced(gate, source) == "1 added"
    assert await found(gate, "albatross") == {"one"}


async def failing(gate: GateOnTest, source: Json) -> int:
    told = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, PARTNER))
    return cast(int, cast(Json, cast(Json, told["source"])["report"])["failing"])


async def test_what_the_source_does_not_give_now_is_read_by_the_next_sync_though_it_has_not_changed(
    gate: GateOnTest, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EVERYONE), "2": ("two.md", b"The basilisk.", EVERYONE)}
    drive.busy = {"1"}
    source = await added(gate)
    assert await synced(gate, source) == "1 failed, 1 added"
    assert await failing(gate, source) == 1
    drive.busy = set()
    assert await synced(gate, source) == "1 added"
    assert await failing(gate, source) == 0
    assert await found(gate, "albatross basilisk") == {"one", "two"}

    # So is its next version, which the old one stands in for meanwhile.
    drive.items["1"] = ("one.md", b"The chimera.", EVERYONE)
    drive.busy = {"1"}
    assert await synced(gate, source) == "1 failed"
    assert await found(gate, "albatross") == {"one"}
    drive.busy = set()
    assert await synced(gate, source) == "1 replaced"
    assert await found(gate, "chimera") == {"one"}


async def test_a_budget_that_is_used_up_costs_no_item(gate: GateOnTest, drive: Drive) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EVERYONE), "2": ("two.md", b"The basilisk.", EVERYONE)}
    source = await added(gate)
    asked: Json = {"scope": "organization", "measure": "calls", "effect": "prepare", "limit": 0, "reason": "Quiet."}
    result_of(await gate.call("budget_set", asked, PARTNER))
    assert await synced(gate, source) == "2 added"


async def test_what_is_not_given_again_and_again_is_asked_for_ever_more_seldom_and_counted_all_the_while(
    gate: GateOnTest, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EVERYONE)}
    drive.busy = {"1"}
    source = await added(gate)
    for _ in range(3):
        assert await synced(gate, source) == "1 failed"
    for _ in range(3):
        assert await synced(gate, source) == "nothing has changed"
        assert await failing(gate, source) == 1
    assert drive.reads == 3
    waits = "SELECT retry_at > now() + interval '50 minutes' FROM knowledge_source_items WHERE failures > 0"
    assert await owner_connection.fetchval(waits)
    await owner_connection.execute("UPDATE knowledge_source_items SET retry_at = now()")
    # It is renamed meanwhile: that makes nothing of it readable.
    drive.items["1"] = ("other.md", b"The albatross.", EVERYONE)
    assert await synced(gate, source) == "1 failed"
    assert await owner_connection.fetchval("SELECT max(failures) FROM knowledge_source_items") == 4
    drive.items["1"] = ("other.md", b"The basilisk.", EVERYONE)
    drive.busy = set()
    assert await synced(gate, source) == "1 added"
    assert await failing(gate, source) == 0


async def test_what_cannot_be_read_for_what_it_is_is_not_tried_before_it_has_changed_and_counted_all_the_while(
    gate: GateOnTest, drive: Drive
) -> None:
    drive.items = {"1": ("one.png", b"\x89PNG\r\n\x1a\n" + bytes(100), EVERYONE)}
    source = await added(gate)
    assert await synced(gate, source) == "1 failed"
    for _ in range(3):
        assert await synced(gate, source) == "nothing has changed"
        assert await failing(gate, source) == 1
    assert drive.reads == 1
    drive.items["1"] = ("one.md", b"The albatross.", EVERYONE)
    assert await synced(gate, source) == "1 added"
    assert await failing(gate, source) == 0


async def test_a_run_syncs_step_by_step_rests_while_the_source_is_away_and_two_do_not_meet(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {str(n): (f"{n}.md", f"The albatross number {n}.".encode(), EVERYONE) for n in range(45)}
    source = await added(gate, cron="0 7 * * *")
    asked: Json = {"task_id": source["task_id"]}
    first = cast(Json, result_of(await gate.call("task_run", asked, HAND))["task_run"])
    job = gate.queue.jobs.pop()
    drive.away, drive.retry_after = 1, timedelta(seconds=90)
    again = await worker.work(job)
    assert again is not None
    assert again.after is not None
    assert timedelta(seconds=60) < again.after <= timedelta(seconds=90)
    shown = cast(Json, result_of(await gate.call("source_report", {"source_id": source["source_id"]}, HAND))["source"])
    assert shown["failure"] == "the drive asks for patience"

    other = cast(Json, result_of(await gate.call("task_run", asked, PARTNER))["task_run"])
    assert await worker.work(gate.queue.jobs.pop()) is None
    told = result_of(await gate.call("task_run_get", {"task_run_id": other["task_run_id"]}, PARTNER))
    assert cast(Json, told["task_run"])["status"] == "completed"
    assert await current(owner_connection, source) == []

    await owner_connection.execute("UPDATE knowledge_sources SET rests_until = now()")
    await owner_connection.execute(
        "UPDATE activity_payloads SET result = replace(result, '\"rest_s\":90.0', '\"rest_s\":0.0')"
    )
    assert await worker.work(job) is None
    run = cast(
        Json,
        result_of(await gate.call("task_run_get", {"task_run_id": first["task_run_id"]}, HAND))["task_run"],
    )
    assert run["status"] == "completed", run
    assert len(await current(owner_connection, source)) == 45
    assert drive.reads == 45


async def test_a_source_that_refuses_fails_the_run_in_words_and_the_next_run_tries_anew(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection, drive: Drive
) -> None:
    drive.refuses = True
    drive.items = {"1": ("one.md", b"The albatross.", EVERYONE)}
    source = await added(gate)
    for refuses, status in ((True, "failed"), (False, "completed")):
        drive.refuses = refuses
        run = result_of(await gate.call("task_run", {"task_id": source["task_id"]}, HAND))["task_run"]
        await worker.work(gate.queue.jobs.pop())
        told = result_of(await gate.call("task_run_get", {"task_run_id": cast(Json, run)["task_run_id"]}, HAND))
        assert cast(Json, told["task_run"])["status"] == status
        shown = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, HAND))["source"]
        assert ("failure" in cast(Json, shown)) is refuses
    assert len(await current(owner_connection, source)) == 1


async def test_a_source_that_is_removed_takes_its_documents_and_its_schedules_along(
    gate: GateOnTest, worker: TaskRunWorker, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {str(n): (f"{n}.md", f"The albatross number {n}.".encode(), EVERYONE) for n in range(7)}
    source = await added(gate, cron="0 7 * * *")
    await synced(gate, source)
    gate.queue.jobs.clear()
    result_of(await gate.call("source_remove", {"source_id": source["source_id"]}, PARTNER))
    assert await worker.work(gate.queue.jobs.pop()) is None
    assert await current(owner_connection, source) == []
    assert await found(gate, "albatross") == set()
    listed = result_of(await gate.call("schedule_list", {"task_id": source["task_id"]}, PARTNER))
    assert listed["items"] == []
    assert (await gate.call("source_report", {"source_id": source["source_id"]}, PARTNER)).error is not None


async def schedules(gate: GateOnTest, source: Json) -> list[tuple[str, str]]:
    listed = result_of(await gate.call("schedule_list", {"task_id": source["task_id"]}, PARTNER))["items"]
    return [(str(each["cron"]), str(each["time_zone"])) for each in cast("list[Json]", listed)]


async def test_with_a_sources_name_the_addresses_of_all_its_documents_change_and_one_is_told_of_ones_own(
    gate: GateOnTest, owner_connection: Connection, drive: Drive
) -> None:
    drive.items = {"1": ("one.md", b"The albatross.", EMPLOYEES), "2": ("two.md", b"The basilisk.", PARTNERS)}
    source = await added(gate)
    await synced(gate, source)
    drive.items["1"] = ("one.md", b"The chimera.", EMPLOYEES)
    await synced(gate, source)
    asked: Json = {"source_id": source["source_id"], "name": "Archive"}
    changed = cast(Json, result_of(await gate.call("source_change", asked, PARTNER))["source"])
    assert (changed["name"], changed["documents"], changed["settings"]) == ("Archive", 1, source["settings"])
    rows = await owner_connection.fetch(
        "SELECT uri FROM knowledge_documents WHERE source_id = $1 ORDER BY uri", UUID(str(source["source_id"]))
    )
    assert [row["uri"] for row in rows] == ["Archive/one.md", "Archive/one.md", "Archive/two.md"]
    task = cast(Json, result_of(await gate.call("task_get", {"task_id": source["task_id"]}, PARTNER))["task"])
    assert task["title"] == "Sync Archive"
    assert await synced(gate, source) == "nothing has changed"

    # What people have called otherwise stays.
    result_of(await gate.call("task_update", {"task_id": source["task_id"], "title": "Nightly"}, PARTNER))
    result_of(await gate.call("source_change", {**asked, "name": "Papers"}, PARTNER))
    task = cast(Json, result_of(await gate.call("task_get", {"task_id": source["task_id"]}, PARTNER))["task"])
    assert task["title"] == "Nightly"


async def test_a_source_is_synced_at_other_times_or_at_none(gate: GateOnTest) -> None:
    source = await added(gate)
    asked: Json = {"source_id": source["source_id"]}
    assert await schedules(gate, source) == []
    for change, then in (
        ({"cron": "0 7 * * *"}, [("0 7 * * *", "UTC")]),
        ({"cron": "0 8 * * *", "time_zone": "Europe/Malta"}, [("0 8 * * *", "Europe/Malta")]),
        ({"cron": "0 9 * * *"}, [("0 9 * * *", "Europe/Malta")]),
        ({"name": "Archive"}, [("0 9 * * *", "Europe/Malta")]),
        ({"cron": None}, []),
    ):
        result_of(await gate.call("source_change", {**asked, **change}, PARTNER))
        assert await schedules(gate, source) == then


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "nothing_to_change"),
        ({"time_zone": "Europe/Malta"}, "nothing_to_change"),
        ({"cron": "daily"}, "invalid_cron"),
        ({"cron": "0 7 * * *", "time_zone": "Mars"}, "unknown_time_zone"),
        ({"settings": {"account": "other"}}, "source_refused"),
    ],
)
async def test_a_change_of_nothing_or_into_another_source_is_refused(gate: GateOnTest, change: Json, code: str) -> None:
    source = await added(gate, settings={"account": "office"})
    refused = await gate.call("source_change", {"source_id": source["source_id"], **change}, PARTNER)
    assert (refused.outcome, refused.error and refused.error.code) == ("invalid", code)
    shown = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, PARTNER))
    assert shown["source"] == source


async def test_how_much_is_read_is_changed_while_a_step_is_under_way_which_then_is_made_anew(
    gate: GateOnTest, drive: Drive
) -> None:
    drive.items = {str(n): (f"{n}.md", f"The albatross {n}.".encode(), EVERYONE) for n in range(5)}
    source = await added(gate, settings={"account": "office"})
    asked: Json = {"source_id": source["source_id"], "settings": {"pages": 5}}
    changed = cast(Json, result_of(await gate.call("source_change", asked, PARTNER))["source"])
    assert changed["settings"] == {"account": "office", "pages": 5}
    assert await synced(gate, source) == "5 added"


async def test_only_a_managers_own_hand_changes_a_source_and_each_change_is_on_record(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    source = await added(gate)
    asked: Json = {"source_id": source["source_id"], "name": "Archive"}
    for who in (HAND, CLIENT, principal_of(who="partner", door="rest"), HUB):
        assert (await gate.call("source_change", asked, who)).outcome == "denied"
    other = await gate.call("source_change", asked, principal_of(FIRM_B, "partner", mode="person", door="rest"))
    assert (other.error and other.error.code) == "source_not_found"
    result_of(await gate.call("source_change", asked, PARTNER))
    kinds = await owner_connection.fetch("SELECT kind FROM activity_events WHERE tool = 'source_change'")
    assert sorted(row["kind"] for row in kinds) == sorted(
        [*["tool.denied"] * 4, "tool.invalid", "tool.allowed", "tool.completed"]
    )


async def test_a_folder_that_is_suddenly_empty_is_taken_to_be_unmounted(
    gate: GateOnTest, owner_connection: Connection, papers: Path
) -> None:
    for n in range(25):
        (papers / f"{n}.md").write_text(f"The albatross number {n}.")
    source = await added(gate, "folder", settings={"path": str(papers)})
    assert await synced(gate, source) == "25 added"
    for n in range(25):
        (papers / f"{n}.md").unlink()
    await synced(gate, source)
    assert len(await current(owner_connection, source)) == 25
    shown = result_of(await gate.call("source_report", {"source_id": source["source_id"]}, HAND))["source"]
    assert "names nothing" in str(cast(Json, cast(Json, shown)["report"])["notes"])
