"""The work of `glow audit verify`: a file, and what one knows from elsewhere; no database is asked."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from domain.ledger.findings import Report
from domain.ledger.verification import ExportVerifier, Signatures, verify_head, verify_proof
from domain.ledger.wire import HeaderLine, HeadFile, HeadLine, ProofFile, kept_head, read_line, read_whole
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


def report_of(path: Path, kept: Sequence[HeadLine], signatures: Signatures) -> Report:
    """What is found; raises OSError."""
    with path.open("rb") as file:
        first = file.readline(LARGEST_FILE)
        if not isinstance(read_line(first.rstrip(b"\n")), HeaderLine):
            content = first + file.read(LARGEST_FILE)
            proof, head = read_whole(content, ProofFile), read_whole(content, HeadFile)
            if proof is not None:
                return verify_proof(proof, signatures, kept)
            if head is not None:
                return verify_head(head, signatures, kept)
            return ExportVerifier(signatures, kept).verify(content.splitlines(keepends=True)[:1])
        return ExportVerifier(signatures, kept).verify(chain([first], file))


def _kept(path: Path) -> HeadLine:
    with path.open("rb") as file:
        head = kept_head(file.read(LARGEST_FILE))
    if head is None:
        raise CommandFailed(f"{path}: there is no head in it")
    return head


def _words(report: Report) -> list[str]:
    fault = report.fault
    if fault is not None:
        where = "" if fault.row is None else f"first bad row {fault.row}"
        if fault.row is not None and fault.last_row not in (None, fault.row):
            where += f" (one or more of the rows {fault.row} to {fault.last_row})"
        return [f"DOES NOT HOLD ({fault.code}): {where + ': ' if where else ''}{fault.words}"]
    checked = f"{report.rows} rows, {report.heads} heads, {report.payloads} payloads, {report.erased} erased"
    signed = [f"Signed by key {each}: is it the one that you were told of?" for each in sorted(report.key_ids)]
    return [f"Holds: {checked}.", *(signed if report.signatures_checked else ["No signature was checked."])]
