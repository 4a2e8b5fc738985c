"""The work of `glow audit verify`: a file, and what one knows from elsewhere; no database is asked."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from domain.ledger.findings import KeyChange, Report
from domain.ledger.signatures import Signatures
from domain.ledger.verification import ExportVerifier, verify_head, verify_proof
from domain.ledger.wire import HeaderLine, HeadFile, HeadLine, ProofFile, kept_heads, kept_of, read_line, read_whole
from server.cli.failure import CommandFailed
from server.cli.printing import say, say_json
from server.signing import is_signed

LARGEST_FILE = 64 << 20
"""Bytes of a proof or a head; an export may be of any size."""


def verify(file: Path, heads: Sequence[Path], key_ids: Sequence[str], *, as_json: bool) -> bool:
    """Print what was found; False when something does not hold."""
    try:
        report = report_of(file, [_kept(path) for path in heads], Signatures(is_signed, key_ids))
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}") from error
    if as_json:
        fault = None if report.fault is None else asdict(report.fault)
        shown = asdict(report) | {"ok": fault is None, "fault": fault, "key_ids": sorted(report.key_ids)}
        say_json(shown)
    else:
        for line in _words(report):
            say(line)
    return report.fault is None


def report_of(path: Path, kept: Sequence[Sequence[HeadLine]], signatures: Signatures) -> Report:
    """What is found. `kept`: the heads of each file of such; raises OSError."""
    with path.open("rb") as file:
        first = file.readline(LARGEST_FILE)
        header = read_line(first.rstrip(b"\n"))
        if isinstance(header, HeaderLine):
            verifier = ExportVerifier(signatures, kept_of(kept, header.organization_id))
            return verifier.verify(chain([first], file))
        content = first + file.read(LARGEST_FILE)
    proof, head = read_whole(content, ProofFile), read_whole(content, HeadFile)
    if proof is not None:
        return verify_proof(proof, signatures, kept_of(kept, _organization_of(proof.head)))
    if head is not None:
        return verify_head(head, signatures, kept_of(kept, _organization_of(head.head)))
    return ExportVerifier(signatures).verify(content.splitlines(keepends=True)[:1])


def _organization_of(head: HeadLine | None) -> str | None:
    return None if head is None else head.organization_id


def _kept(path: Path) -> Sequence[HeadLine]:
    with path.open("rb") as file:
        heads = kept_heads(file.read(LARGEST_FILE))
    if not heads:
        raise CommandFailed(f"{path}: there is no head in it")
    return heads


def _words(report: Report) -> list[str]:
    fault = report.fault
    if fault is not None:
        where = "" if fault.row is None else f"first bad row {fault.row}"
        if fault.row is not None and fault.last_row not in (None, fault.row):
            where += f" (one or more of the rows {fault.row} to {fault.last_row})"
        return [f"DOES NOT HOLD ({fault.code}): {where + ': ' if where else ''}{fault.words}"]
    checked = f"{report.rows} rows, {report.heads} heads, {report.payloads} payloads, {report.erased} erased"
    signed = [f"Signed by key {each}: is it the one that you were told of?" for each in sorted(report.key_ids)]
    changed = [_changed(each) for each in report.key_changes]
    return [f"Holds: {checked}.", *changed, *signed]


def _changed(change: KeyChange) -> str:
    keys = f"the key changed from {change.from_key_id} to {change.to_key_id} with the head of size {change.size}"
    if change.endorsed:
        return f"T{keys[1:]}, and the one before has signed that."
    again = f" ({change.times} times)" if change.times > 1 else ""
    return f"WARNING: {keys}{again}, and the one before has NOT signed that: ask why."
