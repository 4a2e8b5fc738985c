"""Both verifiers on the same file: the hub's own and the one that ships for strangers, which have to agree."""

import runpy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from domain.ledger.erasures import LISTED
from domain.ledger.findings import ErasedRow, LostRows, Report
from domain.ledger.signatures import Signatures
from domain.ledger.wire import HeadFile, kept_heads, read_whole
from domain.resources import resource_folder
from server.cli.verifying import report_of, words_of
from server.signing import is_signed

STANDALONE = resource_folder("audit") / "verify.py"
# Any: the file knows nothing of this hub's types.
_theirs: dict[str, Any] = runpy.run_path(str(STANDALONE), run_name="verify")


def is_signed_for_strangers(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """What the file for strangers says of a signature."""
    return bool(_theirs["is_signed"](public_key, message, signature))


@dataclass(frozen=True, slots=True)
class Found:
    """What a verifier says of a file; no code: it holds."""

    code: str | None
    row: int | None = None
    last_row: int | None = None
    newer: int = 0
    """Rows of a proof that no kept head covers."""


def checked(
    path: Path,
    kept: Sequence[Path] = (),
    key_ids: Sequence[str] = (),
    consistency: Sequence[Path] = (),
    *,
    every: bool = False,
) -> Found:
    """What both say. `every`: each signature is asked for."""
    ours = _ours(path, kept, Signatures(is_signed, key_ids, every=every), consistency)
    theirs = _standalone(path, kept, _theirs["Signatures"](key_ids, every), consistency)
    assert ours == theirs, (ours, theirs)
    return ours


def printed(
    path: Path, kept: Sequence[Path] = (), key_ids: Sequence[str] = (), consistency: Sequence[Path] = ()
) -> str:
    """What the file for strangers prints of a file that does not hold."""
    _, bad = _verified(path, kept, _theirs["Signatures"](key_ids), consistency)
    assert bad is not None
    return str(_theirs["told_of"](bad))


def key_changes(path: Path, key_ids: Sequence[str] = ()) -> list[tuple[str, str, int, bool, int]]:
    """What both say of how one key followed another: from, to, size, whether it was vouched for, how often."""
    report = report_of(path, [], Signatures(is_signed, key_ids))
    assert report.fault is None
    ours = [(each.from_key_id, each.to_key_id, each.size, each.endorsed, each.times) for each in report.key_changes]
    signatures = _theirs["Signatures"](key_ids)
    _theirs["verify"](str(path), [], signatures)
    theirs = [(before, now, size, held, times) for (before, now, held), (size, times) in signatures.changes.items()]
    assert ours == theirs, (ours, theirs)
    return ours


def payloads_of(path: Path) -> tuple[int, int]:
    """What both say of an export that holds: how many payloads were checked, and how many are gone."""
    report, theirs = _held(path)
    assert (report.payloads, len(report.lost)) == (theirs["payloads"], theirs["erased"])
    return report.payloads, len(report.lost)


def lost_rows(path: Path) -> LostRows:
    """Of which rows both say that they have lost something, and by what."""
    report, theirs = _held(path)
    erasures, lost = theirs["erasures"], report.lost
    assert list(lost.by_batches) == [ErasedRow(row=row, by=batch) for row, batch in erasures.named]
    assert (lost.own_words, lost.unnamed) == (erasures.own_words, erasures.unnamed)
    assert lost.last_unnaming == erasures.last_unnaming
    return lost


def told(path: Path, *options: str) -> str:
    """What both print of a file that holds, which is the same."""
    command = [sys.executable, "-I", "-S", str(STANDALONE), str(path), *options]
    standalone = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ours = "".join(f"{line}\n" for line in _words(path, list_erased="--list-erased" in options))
    assert ours == standalone
    return standalone


def _words(path: Path, *, list_erased: bool) -> Sequence[str]:
    return words_of(report_of(path, [], Signatures(is_signed)), sys.maxsize if list_erased else LISTED)


# Any: the file for strangers' own.
def _held(path: Path) -> tuple[Report, Any]:
    report = report_of(path, [], Signatures(is_signed))
    assert report.fault is None, report.fault
    return report, _theirs["verify"](str(path), [], _theirs["Signatures"]())


def _ours(path: Path, kept: Sequence[Path], signatures: Signatures, consistency: Sequence[Path]) -> Found:
    heads = [kept_heads(each.read_bytes()) for each in kept]
    links = [link for each in consistency if (link := read_whole(each.read_bytes(), HeadFile))]
    report = report_of(path, heads, signatures, links)
    fault = report.fault
    return Found(None, newer=report.after_kept) if fault is None else Found(fault.code, fault.row, fault.last_row)


# Any: the file for strangers' own.
def _standalone(path: Path, kept: Sequence[Path], signatures: Any, consistency: Sequence[Path]) -> Found:
    found, bad = _verified(path, kept, signatures, consistency)
    return Found(None, newer=found.get("after_kept", 0)) if bad is None else Found(bad.code, bad.row, bad.last_row)


def _verified(
    path: Path, kept: Sequence[Path], signatures: Any, consistency: Sequence[Path] = ()
) -> tuple[dict[str, Any], Any]:
    """Any: what the file for strangers says that it checked, and what it raises; None: it holds."""
    heads = [_theirs["read_kept"](str(each)) for each in kept]
    links = [_theirs["read_link"](str(each)) for each in consistency]
    try:
        return _theirs["verify"](str(path), heads, signatures, links), None
    except Exception as fault:
        if not isinstance(fault, cast("type[Exception]", _theirs["Bad"])):
            raise
        return {}, fault
