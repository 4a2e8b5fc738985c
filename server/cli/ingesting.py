"""`glow ingest`: files and folders taken in, each by an upload and an indexing through the gate, each reported."""

import os
import sys
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from domain.kernel import Principal
from knowledge.model import DocumentId
from server.cli.failure import CommandFailed
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, plain, say, say_json, why_not
from server.cli.running import run
from server.intake import Intake, IntakeFile, document_id_of, document_of
from tools.outcomes import CallOutcome

LARGEST = 50 * 1024 * 1024
"""Bytes of one file; more is refused unread, as at the other doors."""

NAME_LIMIT = 300

Ending = Literal["ready", "failed", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What became of one file."""

    path: Path
    ending: Ending
    document_id: str | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, object]:
        """The report for machines."""
        shown: dict[str, object] = {"path": str(self.path), "status": self.ending}
        if self.document_id is not None:
            shown["document_id"] = self.document_id
        if self.reason is not None:
            shown["reason"] = self.reason
        return shown


class Progress(Protocol):
    """Where a person sees how far it is."""

    def __call__(self, path: Path, share: float = 0, words: str = "", /) -> None:
        """Another file begins, or the one under way has come so far, from 0 to 1."""
        ...


def ingest(
    paths: Sequence[Path],
    organization: str,
    user: str | None,
    said: Mapping[str, str],
    named: str | None = None,
    *,
    as_json: bool,
) -> bool:
    """Take the files in and report each; False when any was refused or could not be read.

    `named`: what each one's name begins with, before its path below what was given; None: they have no names.
    """
    found = ((file, _named(named, path, file)) for path in paths for file in _files_under(path))
    files = dict(found)
    if not files:
        raise CommandFailed("there is no file in what was given")
    with _progress(len(files)) as progress:
        ended = run(_ingest(files, organization, user, said, progress))
    if as_json:
        say_json({"items": [each.as_json() for each in ended]})
    else:
        _report(ended)
    return all(each.ending == "ready" for each in ended)


async def _ingest(
    files: Mapping[Path, str | None], organization: str, user: str | None, said: Mapping[str, str], progress: Progress
) -> list[Ingested]:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        return [each async for each in taken_in(Intake(hub), principal, list(files), said, progress, files)]


async def taken_in(
    intake: Intake,
    principal: Principal,
    files: Sequence[Path],
    said: Mapping[str, str],
    progress: Progress,
    names: Mapping[Path, str | None] = MappingProxyType({}),
) -> AsyncGenerator[Ingested]:
    """What becomes of each file, and behind it of each that lies inside of it; `names`: what they are known by."""
    for path in files:
        name = names.get(path)
        progress(path)
        try:
            content = _content_of(path)
        except OSError as error:
            yield Ingested(path=path, ending="refused", reason=error.strerror or str(error))
        else:
            file = IntakeFile(
                content=content,
                title=_utf8(path.name)[:NAME_LIMIT],
                file_name=_utf8(path.name)[:NAME_LIMIT],
                said=said if name is None else {**said, "uri": name},
            )
            async for ended in _take_in(intake, principal, path, file, progress):
                yield ended


async def _take_in(
    intake: Intake, principal: Principal, path: Path, file: IntakeFile, progress: Progress
) -> AsyncGenerator[Ingested]:
    """The file, and behind it each that came inside of it."""
    uploaded = await intake.upload(principal, file)
    if uploaded.outcome != "done":
        yield Ingested(path=path, ending="refused", reason=why_not(uploaded))
        return
    document_id = document_id_of(uploaded)
    if (uploaded.result or {}).get("unchanged") and document_of(uploaded)["status"] == "ready":
        reason = "the same content is there already"
        yield Ingested(path=path, ending="ready", document_id=str(document_id), reason=reason)
        return
    indexed = await intake.index(principal, document_id, partial(progress, path))
    yield _indexed(path, document_id, indexed)
    if indexed is not None and indexed.outcome == "done":
        async for part_id, part in intake.index_parts(principal, document_id):
            title = "" if part is None else str(document_of(part).get("title", ""))
            yield _indexed(path / (title or str(part_id)), part_id, part)


def _indexed(path: Path, document_id: DocumentId, indexed: CallOutcome | None) -> Ingested:
    if indexed is None:
        reason = "the organization has no service account to index it"
        return Ingested(path=path, ending="failed", document_id=str(document_id), reason=reason)
    if indexed.outcome != "done":
        return Ingested(path=path, ending="failed", document_id=str(document_id), reason=why_not(indexed))
    document = document_of(indexed)
    failure = document.get("failure") or document.get("note")
    return Ingested(
        path=path,
        ending="ready" if document["status"] == "ready" else "failed",
        document_id=str(document_id),
        reason=None if failure is None else str(failure),
    )


def _named(prefix: str | None, given: Path, file: Path) -> str | None:
    below = file.relative_to(given) if file != given else Path(file.name)
    return None if prefix is None else f"{prefix.rstrip('/')}/{_utf8(below.as_posix())}"


def _files_under(path: Path) -> Iterator[Path]:
    """The file itself, or those below a folder in a stable order, hidden ones left out and links not followed."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = (Path(folder) / name for name in sorted(names) if not name.startswith("."))
        yield from (file for file in files if not file.is_symlink())


def _content_of(path: Path) -> bytes:
    if not path.is_file():
        raise OSError("not a regular file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if not content:
        raise OSError("the file is empty")
    if len(content) > LARGEST:
        raise OSError(f"larger than {LARGEST // (1024 * 1024)} MiB")
    return content


def _utf8(name: str) -> str:
    """The name with whatever is not UTF-8 in it replaced: a file system takes any bytes."""
    return os.fsencode(name).decode("utf-8", "replace")


def _report(ended: Sequence[Ingested]) -> None:
    for each in ended:
        reason = "" if each.reason is None else f"  ({each.reason})"
        (say if each.ending == "ready" else complain)(f"{each.ending:8} {_utf8(str(each.path))}{reason}")
    ready = sum(each.ending == "ready" for each in ended)
    say(f"{ready} of {len(ended)} can be searched now.")


@contextmanager
def _progress(total: int) -> Generator[Progress]:
    """A bar on a terminal's standard error; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda path, share=0, words="": None
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.markup import escape

    columns = (bars.BarColumn(), bars.TaskProgressColumn(), bars.TextColumn("{task.description}"))
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        begun: list[Path] = []

        def advance(path: Path, share: float = 0, words: str = "") -> None:
            if begun[-1:] != [path]:
                begun.append(path)
            told = plain(f"{_utf8(path.name)}  {words}")
            bar.update(task, completed=len(begun) - 1 + share, description=escape(told))

        yield advance
