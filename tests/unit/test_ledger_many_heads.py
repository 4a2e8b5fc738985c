"""Exports with more heads than have their signature checked: what is asked of which, and what is found all the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from domain.ledger.lines import VERSION
from domain.ledger.model import CHAIN_START, canonical, chained
from domain.ledger.signatures import FIRST_HEADS
from domain.ledger.tree import Frontier, leaf_hash
from domain.ledger.wire import HeadLine
from server.signing import LedgerKey
from tests.support.ledger import KEY, OTHER_KEY
from tests.support.verifiers import Found, checked

ROWS = FIRST_HEADS + 50
CHANGE = FIRST_HEADS + 20
"""Rows under heads of the first key, where two sign."""
ORGANIZATION = "11111111-1111-1111-1111-111111111111"


@dataclass(slots=True)
class Many:
    """An export with a head after each row; `bent`: the sizes of heads whose time was moved after they were signed."""

    folder: Path
    keys: Sequence[LedgerKey] = (KEY,)
    bent: set[int] = field(default_factory=set[int])
    changed: int | None = None
    """A row that was rewritten with all that follows, by somebody without the key."""

    def file(self) -> Path:
        """Written anew."""
        lines: list[object] = [
            {
                "exported_at": "2026-11-30T00:00:00.000000Z",
                "organization_id": ORGANIZATION,
                "payloads": False,
                "size": ROWS,
                "type": "ledger",
                "version": VERSION,
            },
            *(
                {
                    "from_size": 1,
                    "introduced_at": "",
                    "key_id": k.key_id,
                    "public_key": k.public_key.hex(),
                    "type": "key",
                }
                for k in self.keys
            ),
        ]
        frontier, chain = Frontier(), CHAIN_START
        for row in range(ROWS):
            event = {"organization_id": ORGANIZATION, "event_id": row, "tool": "x" if row == self.changed else "y"}
            leaf = leaf_hash(canonical(event))
            frontier.append(leaf)
            chain = chained(chain, leaf)
            told = {"chain": chain.hex(), "event": event, "index": row, "leaf": leaf.hex(), "payload": None}
            lines += [told | {"type": "event"}, self._head(frontier, chain)]
        path = self.folder / "export.ndjson"
        path.write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
        return path

    def _head(self, frontier: Frontier, chain: bytes) -> dict[str, object]:
        size = frontier.size
        key = self.keys[-1] if size > CHANGE else self.keys[0]
        head = HeadLine(
            chain=chain.hex(),
            key_id=key.key_id,
            organization_id=ORGANIZATION,
            root=frontier.root.hex(),
            sealed_at="2026-11-30T00:00:00.000000Z",
            signature="0" * 128,
            size=size,
            type="head",
            version=1,
        )
        forged = self.changed is not None and size > self.changed
        signature = "1" * 128 if forged else key.sign(head.signed_bytes()).hex()
        moved = {"sealed_at": "2026-12-01T00:00:00.000000Z"} if size in self.bent else {}
        return {**head.model_dump(), "signature": signature, **moved}


def test_a_row_that_was_changed_without_the_key_is_found_by_the_last_head_at_the_latest(tmp_path: Path) -> None:
    assert checked(Many(tmp_path).file()) == Found(None)
    for row in (FIRST_HEADS, ROWS - 1):
        assert checked(Many(tmp_path, changed=row).file()) == Found("signature", FIRST_HEADS, ROWS - 1)
    assert checked(Many(tmp_path, changed=7).file()) == Found("signature", 7, 7)


def test_the_last_head_of_each_key_and_the_first_of_the_next_are_checked(tmp_path: Path) -> None:
    keys = (KEY, OTHER_KEY)
    assert checked(Many(tmp_path, keys).file()) == Found(None)
    assert checked(Many(tmp_path, keys, {CHANGE}).file()) == Found("signature", FIRST_HEADS, CHANGE - 1)
    assert checked(Many(tmp_path, keys, {CHANGE + 1}).file()) == Found("signature", CHANGE, CHANGE)
    assert checked(Many(tmp_path, keys, {ROWS}).file()).code == "signature"


def test_a_head_between_two_that_says_another_time_is_found_where_it_was_kept_or_each_is_asked_for(
    tmp_path: Path,
) -> None:
    size = FIRST_HEADS + 5
    many = Many(tmp_path, bent={size})
    path = many.file()
    assert checked(path) == Found(None)
    assert checked(path, every=True) == Found("signature", size - 1, size - 1)
    kept = tmp_path / "kept.json"
    kept.write_bytes(next(line for line in path.read_bytes().split(b"\n") if b'"size":%d,"type":"head"' % size in line))
    assert checked(path, [kept]) == Found("signature", FIRST_HEADS, size - 1)
