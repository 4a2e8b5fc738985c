"""The work of `glow audit verify`: a file, and what one knows from elsewhere; no database is asked."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from domain.ledger.erasures import LISTED, told_of
from domain.ledger.findings import KeyChange, Report
from domain.ledger.signatures import Signatures
from domain.ledger.verification import ExportVerifier, verify_head, verify_proof
from domain.ledger.wire import HeaderLine, HeadFile, HeadLine, ProofFile, kept_heads, kept_of, read_line, read_whole
from server.cli.failure import CommandFailed
from server.cli.printing import say, say_json
from server.signing import is_signed
from tools.outcomes import Json

LARGEST_FILE = 64 << 20
"""Bytes of a proof or a head; an export may be of any size."""
LINKS_OF_NO_EXPORT = "--consistency is for a proof or a head: an export has every row"


def verify(
    file: Path,
    heads: Sequence[Path],
    key_ids: Sequence[str],
    consistency: Sequence[Path],
    *,
    every: bool,
    list_erased: bool,
    as_json: bool,
) -> bool:
    """Print what was found; False when something does not hold."""
    try:
        links = [_link(path) for path in consistency]
        report = report_of(file, [_kept(path) for path in heads], Signatures(is_signed, key_ids, every=every), links)
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}") from error
    most = sys.maxsize if list_erased else LISTED
    if as_json:
        say_json(_json(report, most))
    else:
        for line in words_of(report, most):
            say(line)
    return report.fault is None


def report_of(
    path: Path, kept: Sequence[Sequence[HeadLine]], signatures: Signatures, links: Sequence[HeadFile] = ()
) -> Report:
    """What is found. `kept`: the heads of each file of such; `links`: what ties them to another; raises OSError."""
    with path.open("rb") as file:
        first = file.readline(LARGEST_FILE)
        header = read_line(first.rstrip(b"\n"))
        if isinstance(header, HeaderLine):
            if links:
                raise CommandFailed(LINKS_OF_NO_EXPORT)
            heads = [head for each in kept for head in kept_of(each, header.organization_id)]
            verifier = ExportVerifier(signatures, heads)
            return verifier.verify(chain([first], file))
        content = first + file.read(LARGEST_FILE)
    proof, head = read_whole(content, ProofFile), read_whole(content, HeadFile)
    if proof is not None:
        return verify_proof(proof, signatures, _kept_of(kept, proof.head), links)
    if head is not None:
        return verify_head(head, signatures, _kept_of(kept, head.head), links)
    if links:
        raise CommandFailed(LINKS_OF_NO_EXPORT)
    return ExportVerifier(signatures).verify(content.splitlines(keepends=True)[:1])


def _kept_of(kept: Sequence[Sequence[HeadLine]], head: HeadLine | None) -> Sequence[Sequence[HeadLine]]:
    return [kept_of(each, None if head is None else head.organization_id) for each in kept]


def _link(path: Path) -> HeadFile:
    with path.open("rb") as file:
        link = read_whole(file.read(LARGEST_FILE), HeadFile)
    if link is None or link.head is None or link.since is None:
        raise CommandFailed(f"{path}: this is not what `glow audit head --since SIZE` prints")
    return link


def _kept(path: Path) -> Sequence[HeadLine]:
    with path.open("rb") as file:
        heads = kept_heads(file.read(LARGEST_FILE))
    if not heads:
        raise CommandFailed(f"{path}: there is no head in it")
    return heads


def _json(report: Report, most: int) -> Json:
    shown: Json = asdict(report)
    del shown["lost"]
    lost = report.lost
    return shown | {
        "ok": report.fault is None,
        "key_ids": sorted(report.key_ids),
        "erased": len(lost) if report.left_out is None else None,
        "erased_by_batches": [asdict(each) for each in lost.by_batches[:most]],
        "erased_own_words": list(lost.own_words[:most]),
        "erased_unnamed": list(lost.unnamed[:most]),
    }


def words_of(report: Report, most: int) -> list[str]:
    """What is said of a report; `most`: rows of each kind that have lost something."""
    fault = report.fault
    if fault is not None:
        where = "" if fault.row is None else f"first bad row {fault.row}"
        if fault.row is not None and fault.last_row not in (None, fault.row):
            where += f" (one or more of the rows {fault.row} to {fault.last_row})"
        return [f"DOES NOT HOLD ({fault.code}): {where + ': ' if where else ''}{fault.words}"]
    whose = f"Organization {report.organization_id}"
    checked = f"{report.rows} rows, {report.heads} heads"
    unsigned: list[str] = []
    if report.call_id is not None:
        whose, checked = f"{whose}, call {report.call_id}", f"{report.rows} rows"
        unsigned.append(f"Not signed: that the call has no other rows, but {report.unsealed} that are not sealed yet.")
    elif report.left_out is None:
        checked += f", {report.payloads} payloads, {len(report.lost)} erased"
    else:
        unsigned.append(
            f"Left out: what {report.left_out} of these rows carried or gave. The first line says so, which nobody "
            "signs; whether some of it was erased, or taken away, only an export with payloads shows."
        )
    newer = f"Rows newer than the kept head: {report.after_kept}. That they were recorded, the key alone says."
    signed = [f"Signed by key {each}: is it the one that you were told of?" for each in sorted(report.key_ids)]
    skipped = f"Signatures checked: {report.signatures} of {report.heads} heads (--all-signatures: each)."
    newer_or_skipped = [
        *([newer] if report.after_kept else []),
        *([skipped] if report.rows and report.signatures < report.heads else []),
    ]
    changed = [_changed(each) for each in report.key_changes]
    # Whoever signs by a key of their own chooses these texts: no line of ours may stand in them.
    whose = whose.encode("unicode_escape").decode()
    whose += "." if report.key_ids else ", as the first line says, which nobody signs."
    erased = told_of(report.lost, most)
    return [f"Holds: {checked}.", whose, *unsigned, *erased, *newer_or_skipped, *changed, *signed]


def _changed(change: KeyChange) -> str:
    keys = f"the key changed from {change.from_key_id} to {change.to_key_id} with the head of size {change.size}"
    if change.endorsed:
        return f"T{keys[1:]}, and the one before has signed that."
    again = f" ({change.times} times)" if change.times > 1 else ""
    return f"WARNING: {keys}{again}, and the one before has NOT signed that: ask why."
