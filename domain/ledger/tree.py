"""The Merkle tree of RFC 6962: hashes, roots and proofs, knowing nothing of what a leaf is or where nodes are kept.

A tree only grows. What is kept of one are its leaves and its perfect subtrees, the nodes, none of which ever changes; a
root or a proof of any size is put together from O(log n) of them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

EMPTY_ROOT = hashlib.sha256().digest()

Range = tuple[int, int]
"""Leaves from the first, included, to the second, excluded."""


@dataclass(frozen=True, slots=True)
class Node:
    """A perfect subtree: the 2^level leaves from index * 2^level on; level 0 is a leaf."""

    level: int
    index: int


def leaf_hash(content: bytes) -> bytes:
    """Source  RFC 6962 2.1: leaves and nodes are hashed apart, so that neither passes for the other."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Source  RFC 6962 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def peaks(size: int) -> Sequence[Node]:
    """The perfect subtrees that a tree consists of, largest first: one for each bit of its size."""
    found: list[Node] = []
    start = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            found.append(Node(level, start >> level))
            start += 1 << level
    return found


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over peaks, given largest first."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Frontier:
    """The right edge of a tree, which is all that appending needs."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """`hashes`: those of `peaks(size)`, in their order."""
        self.size = size
        self._peaks = list(hashes)
        if len(self._peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self._peaks)}")

    def append(self, leaf: bytes) -> Sequence[tuple[Node, bytes]]:
        """Add a leaf by its hash; gives the nodes that it completes, smallest first, without the leaf itself."""
        completed: list[tuple[Node, bytes]] = []
        level, index, joined = 0, self.size, leaf
        while index & 1:
            joined = node_hash(self._peaks.pop(), joined)
            level, index = level + 1, index >> 1
            completed.append((Node(level, index), joined))
        self._peaks.append(joined)
        self.size += 1
        return completed

    @property
    def root(self) -> bytes:
        """Of the leaves so far."""
        return root_of(self._peaks)


def inclusion_ranges(index: int, size: int) -> Sequence[Range]:
    """Whose hashes prove that a leaf stands at `index` of a tree of `size`, nearest first.

    Source  RFC 6962 2.1.1, PATH. Raises  ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has none at {index}")
    found: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _largest_power_below(end - start)
        if index < split:
            found.append((split, end))
            end = split
        else:
            found.append((start, split))
            start = split
    return found[::-1]


def consistency_ranges(old: int, new: int) -> Sequence[Range]:
    """Whose hashes prove that the tree of size `old` is the beginning of the tree of size `new`.

    Source  RFC 6962 2.1.2, PROOF. Raises  ValueError: a tree does not shrink.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves was never one of {old}")
    found: list[Range] = []
    start, end = 0, new
    while old not in (0, end):
        split = start + _largest_power_below(end - start)
        if old <= split:
            found.append((split, end))
            end = split
        else:
            found.append((start, split))
            start = split
    # What ends where the old tree ended is known to whoever has the old root, unless only a part of it is left.
    if start > 0:
        found.append((start, end))
    return found[::-1]


def nodes_of(ranges: Iterable[Range]) -> Sequence[Node]:
    """The nodes from which the hashes of a proof's ranges are put together."""
    return [node for each in ranges for node in _cover(each)]


def hashes_of(ranges: Iterable[Range], known: Mapping[Node, bytes]) -> Sequence[bytes]:
    """The hashes of a proof's ranges, from those of `nodes_of` them.

    Raises  KeyError: a node is not among them.
    """
    return [root_of([known[node] for node in _cover(each)]) for each in ranges]


def root_by_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a tree of `size` must have for `path` to prove the leaf at `index`; None: it proves none.

    Source  RFC 9162 2.1.3.2.
    """
    if not 0 <= index < size:
        return None
    here, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if here & 1 or here == last:
            root = node_hash(sibling, root)
            here, last = _up_to_a_right_child(here, last)
        else:
            root = node_hash(root, sibling)
        here, last = here >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the tree with the old root is the beginning of the one with the new.

    Source  RFC 9162 2.1.4.2.
    """
    if not 0 < old < new:
        trivial = old == new and old_root == new_root if old else old_root == EMPTY_ROOT
        return trivial and not path and old <= new
    # The old tree is one node of the new: its hash is known, and left out of the proof.
    hashes = [old_root, *path] if old.bit_count() == 1 else list(path)
    if not hashes:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    was = now = hashes[0]
    for each in hashes[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            was, now = node_hash(each, was), node_hash(each, now)
            here, last = _up_to_a_right_child(here, last)
        else:
            now = node_hash(now, each)
        here, last = here >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root


def _up_to_a_right_child(here: int, last: int) -> tuple[int, int]:
    """Past the levels at which the right edge has no sibling."""
    while here and not here & 1:
        here, last = here >> 1, last >> 1
    return here, last


def _largest_power_below(size: int) -> int:
    """The largest power of two less than `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _cover(leaves: Range) -> Sequence[Node]:
    """The perfect subtrees of a range that RFC 6962 divides a tree into: it starts at a multiple of the largest."""
    start, end = leaves
    return [Node(node.level, node.index + (start >> node.level)) for node in peaks(end - start)]
