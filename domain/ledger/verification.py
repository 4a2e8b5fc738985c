"""Checks an export, a proof or a head by itself: nothing is asked of a database, and nothing in it is trusted.

`audit/verify.py` does the same for whoever would trust no code of this hub's; tests hold the two to one another.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NoReturn, assert_never

from domain.activity.model import SALT_BYTES
from domain.ledger.continuity import check_tied
from domain.ledger.erasures import Erasures
from domain.ledger.findings import Bad, Fault, FaultCode, Report
from domain.ledger.model import CHAIN_START, canonical, chained
from domain.ledger.signatures import Signatures
from domain.ledger.tree import Frontier, leaf_hash, root_by_inclusion
from domain.ledger.wire import (
    BrokenOffLine,
    EventLine,
    HeaderLine,
    HeadFile,
    HeadLine,
    KeyLine,
    PayloadMember,
    ProofFile,
    ProvedMember,
    RotationLine,
    read_line,
)


class ExportVerifier:
    """Takes an export line by line; what it holds in memory grows with its erased rows alone."""

    def __init__(self, signatures: Signatures, kept: Sequence[HeadLine] = ()) -> None:
        """`kept`: heads known from elsewhere, which the rows must lead to."""
        self.report = Report()
        self._signatures = signatures
        self._kept = {head.size: head for head in kept}
        self._contradicting = sorted(head.size for head in kept if self._kept[head.size].root != head.root)
        self._largest_kept = max(self._kept, default=0)
        self._header: HeaderLine | None = None
        self._frontier = Frontier()
        self._chain = CHAIN_START
        self._erasures = Erasures()
        self._proved = 0
        """Rows under a head that held."""
        self._agreed = 0
        """Rows under a kept head that held: whoever has the key may sign heads over others."""
        self._line = 0

    def verify(self, lines: Iterable[bytes]) -> Report:
        """The report, with the first fault there is."""
        try:
            for line in lines:
                self._line += 1
                self._take(line)
            self._end()
        except Bad as bad:
            self.report.fault = replace(bad.fault, line=self._line)
        self.report.key_changes, self.report.signatures = self._signatures.changes, self._signatures.checked
        return self.report

    def _bad(self, code: FaultCode, words: str, row: int | None = None, last_row: int | None = None) -> NoReturn:
        raise Bad(Fault(code=code, words=words, row=row, last_row=last_row, line=self._line))

    def _hold(self, fault: Fault | None) -> None:
        if fault is not None:
            raise Bad(replace(fault, line=self._line))

    def _take(self, raw: bytes) -> None:
        row = self.report.rows
        line = read_line(raw[:-1]) if raw.endswith(b"\n") else None
        if line is None or (self._header is None) != isinstance(line, HeaderLine):
            self._bad("unreadable", f"line {self._line} is not one of an export, or was cut off", row)
        match line:
            case HeaderLine():
                self._take_header(line)
            case KeyLine():
                if not self._signatures.add(line):
                    self._bad("key", f"a key's id is not its own: {line.key_id}")
            case EventLine():
                self._take_event(line)
            case HeadLine():
                self._take_head(line)
            case RotationLine():
                self._take_rotation(line)
            case BrokenOffLine():
                # Nobody signs these words: no line of ours may stand in them.
                why = line.why.encode("unicode_escape").decode()
                words = f"the export was broken off; its last line, which nobody signs, says why: {why}"
                self._bad("truncated", words, row)
            case _:
                assert_never(line)

    def _take_header(self, line: HeaderLine) -> None:
        self._header = line
        self.report.organization_id = line.organization_id
        self.report.left_out = None if line.payloads else 0
        if any(head.organization_id != line.organization_id for head in self._kept.values()):
            self._bad("organization", "the kept head is another organization's")
        if self._contradicting:
            self._bad("kept_head", f"kept heads of size {self._contradicting[0]} contradict one another")

    def _take_event(self, line: EventLine) -> None:
        row, header = self.report.rows, self._header
        assert header is not None  # noqa: S101 - the first line was one
        if line.index != row or row >= header.size:
            self._bad("place", f"row {row} is missing or moved: here stands one that says it is {line.index}", row)
        if line.event is None:
            self._bad("missing", f"the event of row {row} is not in the record any more", row)
        if line.event.get("organization_id") != header.organization_id:
            self._bad("organization", f"row {row} is another organization's", row)
        leaf = leaf_hash(canonical(line.event))
        if leaf.hex() != line.leaf:
            self._bad("leaf", f"the event of row {row} is not the one that was sealed", row)
        self._chain = chained(self._chain, leaf)
        if self._chain.hex() != line.chain:
            self._bad("chain", f"row {row} is not the one that was sealed after the row before it", row)
        self._check_payload(line.payload, line.event, row)
        self._frontier.append(leaf)
        self.report.rows += 1
        kept = self._kept.get(self.report.rows)
        if kept is None:
            return
        if kept.root != self._frontier.root.hex():
            words = f"the rows {self._agreed} to {row} are not those of the head that was kept"
            self._bad("kept_head", words, self._agreed, row)
        self._agreed = kept.size

    def _check_payload(self, payload: PayloadMember | None, event: dict[str, object], row: int) -> None:
        wanted = [name for name in ("arguments", "result") if event.get(f"{name}_digest") is not None]
        if self.report.left_out is not None:
            if payload is not None:
                words = f"row {row} has what its call carried, and the first line says that no row does"
                self._bad("payload", words, row)
            self.report.left_out += bool(wanted)
            return
        texts = {} if payload is None else self._texts_of(payload, event, row)
        if any(texts.get(name) is None for name in wanted):
            self._erasures.lose(row, event, has_salt=payload is not None)
        else:
            self.report.payloads += payload is not None
        self._erasures.follow(row, event, texts.get("result"))

    def _texts_of(self, payload: PayloadMember, event: dict[str, object], row: int) -> dict[str, str | None]:
        """What a call carried and gave, each as its digest says."""
        salt = bytes.fromhex(payload.salt)
        if len(salt) != SALT_BYTES:
            # A digest is over the salt and the text without anything between: only its length tells the two apart.
            self._bad(
                "payload", f"the salt of row {row} is not of {SALT_BYTES} bytes: where the text begins is open", row
            )
        texts = {"arguments": payload.arguments, "result": payload.result}
        for name, text in texts.items():
            if text is not None and hashlib.sha256(salt + text.encode()).hexdigest() != event.get(f"{name}_digest"):
                self._bad("payload", f"what stands as {name} of row {row} is not what the call carried", row)
        return texts

    def _take_head(self, head: HeadLine) -> None:
        rows, header = self.report.rows, self._header
        assert header is not None  # noqa: S101 - the first line was one
        if head.size > rows:
            self._bad("truncated", f"rows {rows} to {head.size - 1} are missing before their head", rows, head.size - 1)
        first, last = self._proved, rows - 1
        if head.organization_id != header.organization_id:
            self._bad("organization", "a head is another organization's", first, last)
        if (head.size, head.root, head.chain) != (rows, self._frontier.root.hex(), self._chain.hex()):
            words = f"the rows {first} to {last} are not those that the head of size {head.size} was signed over"
            self._bad("root", words, first, last)
        self._hold(self._signatures.fault_of(head, at_once=rows in self._kept))
        self._proved = rows
        self.report.heads += 1
        self.report.key_ids.add(head.key_id)

    def _take_rotation(self, line: RotationLine) -> None:
        header, after = self._header, line.after_size
        assert header is not None  # noqa: S101 - the first line was one
        if line.organization_id != header.organization_id:
            self._bad("organization", "a rotation is another organization's")
        if after != self._proved or after != self.report.rows or line.from_key_id != self._signatures.signer:
            self._bad("rotation", f"the rotation after size {after} does not stand after a head of the key before")
        self._hold(self._signatures.fault_at_end())
        fault = self._signatures.fault_of_rotation(line)
        if fault is not None:
            self._bad("rotation", fault)

    def _end(self) -> None:
        rows = self.report.rows
        if self._header is None:
            self._bad("unreadable", "the file is empty", 0)
        wanted = max(self._header.size, self._largest_kept)
        if rows < wanted:
            self._bad("truncated", f"the file ends before row {rows}; there were at least {wanted}", rows, wanted - 1)
        self._hold(self._signatures.fault_at_end())
        if self._proved < rows:
            self._bad("unsealed", f"no head covers the rows from {self._proved} on", self._proved, rows - 1)
        self.report.lost = self._erasures.settled()


def verify_proof(
    proof: ProofFile, signatures: Signatures, kept: Sequence[Sequence[HeadLine]] = (), links: Sequence[HeadFile] = ()
) -> Report:
    """Whether each event of a call is under the proof's head, and that signed and of one tree with those kept.

    `kept`: the heads of each file of such; `links`: what ties them to the proof's.
    """
    report = Report(call_id=proof.call_id, unsealed=proof.unsealed)
    try:
        head = proof.head
        if head is None or not proof.events:
            words = f"no event of the call is proved here; {proof.unsealed} are not sealed yet: ask again"
            raise Bad(Fault(code="unsealed", words=words))
        _check_signed(head, proof, signatures, report)
        links = links if proof.since is None else [_link_of(proof, head, proof.since), *links]
        covered = max((check_tied(heads, head, links, of_call=True) for heads in kept), default=head.size)
        for each in proof.events:
            _check_proved(each, proof.call_id, head)
            report.rows += 1
            report.after_kept += each.index >= covered
    except Bad as bad:
        report.fault = bad.fault
    return report


def verify_head(
    file: HeadFile,
    signatures: Signatures,
    kept: Sequence[Sequence[HeadLine]] = (),
    links: Sequence[HeadFile] = (),
) -> Report:
    """Whether this head is signed, and of one tree with those kept: the heads of each file of such."""
    report = Report()
    try:
        head = file.head
        if head is None:
            raise Bad(Fault(code="unsealed", words="there is no head here: nothing was sealed yet"))
        _check_signed(head, file, signatures, report)
        for heads in kept:
            check_tied(heads, head, links if file.since is None else [file, *links])
        report.heads = len(kept)
    except Bad as bad:
        report.fault = bad.fault
    return report


def _link_of(proof: ProofFile, head: HeadLine, since: int) -> HeadFile:
    """What ties the proof's own head to the one that it was asked for since."""
    return HeadFile(consistency=proof.consistency, head=head, organization_id=head.organization_id, since=since)


def _check_proved(each: ProvedMember, call_id: str, head: HeadLine) -> None:
    row, leaf = each.index, leaf_hash(canonical(each.event))
    if each.event.get("organization_id") != head.organization_id:
        raise Bad(Fault(code="organization", words=f"row {row} is another organization's", row=row))
    if each.event.get("call_id") != call_id:
        raise Bad(Fault(code="proof", words=f"row {row} is of another call", row=row))
    found = root_by_inclusion(leaf, row, head.size, [bytes.fromhex(hash) for hash in each.path])
    if leaf.hex() != each.leaf or found is None or found.hex() != head.root:
        raise Bad(Fault(code="proof", words=f"what stands here as row {row} is not under the head", row=row))


def _check_signed(head: HeadLine, file: ProofFile | HeadFile, signatures: Signatures, report: Report) -> None:
    """The head by its key, and by the rotations that led to that."""
    if file.key is None:
        words = "the head came without its key, so nobody can check who signed it: ask for it again"
        raise Bad(Fault(code="key", words=words))
    for rotation in file.rotations:
        if rotation.organization_id != head.organization_id:
            raise Bad(Fault(code="organization", words="a rotation is another organization's"))
        words = signatures.fault_of_rotation(rotation)
        if words is not None:
            raise Bad(Fault(code="rotation", words=words))
    if not signatures.add(file.key):
        raise Bad(Fault(code="key", words=f"a key's id is not its own: {file.key.key_id}"))
    fault = signatures.fault_of(head)
    if fault is not None:
        raise Bad(Fault(code=fault.code, words=fault.words))
    report.signatures = signatures.checked
    report.heads, report.key_ids, report.organization_id = 1, {head.key_id}, head.organization_id
