"""The Merkle tree, against RFC 6962's own example and the roots that its reference implementations are tested with."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ledger.tree import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_ranges,
    hashes_of,
    inclusion_ranges,
    is_consistent,
    leaf_hash,
    node_hash,
    nodes_of,
    peaks,
    root_by_inclusion,
    root_of,
)

# Source  google/certificate-transparency, merkletree tests: the leaves, and the root after each.
LEAVES = [
    bytes.fromhex(each)
    for each in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)

SIZES = st.integers(1, 130)


class Tree:
    """A whole tree of made-up leaves, with every node it has."""

    def __init__(self, size: int) -> None:
        self.leaves = [leaf_hash(str(number).encode()) for number in range(size)]
        self.nodes = {Node(0, number): each for number, each in enumerate(self.leaves)}
        frontier = Frontier()
        for each in self.leaves:
            self.nodes.update(frontier.append(each))
        self.root = frontier.root

    def root_at(self, size: int) -> bytes:
        return root_of([self.nodes[node] for node in peaks(size)])


def by_definition(leaves: Sequence[bytes]) -> bytes:
    """MTH as RFC 6962 2.1 writes it down, over hashes of leaves."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else EMPTY_ROOT
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(by_definition(leaves[:split]), by_definition(leaves[split:]))


def test_the_roots_are_those_of_the_reference_implementations() -> None:
    frontier = Frontier()
    roots = [frontier.root.hex()]
    for leaf in LEAVES:
        frontier.append(leaf_hash(leaf))
        roots.append(frontier.root.hex())
    assert tuple(roots) == ROOTS


def test_the_proofs_of_seven_leaves_are_those_of_the_rfc() -> None:
    """Source  RFC 6962 2.1.3: a to f, g to l by the ranges of leaves they stand for."""
    b, c, d, f, j = (1, 2), (2, 3), (3, 4), (5, 6), (6, 7)
    g, h, i, k, last = (0, 2), (2, 4), (4, 6), (0, 4), (4, 7)
    assert [list(inclusion_ranges(index, 7)) for index in (0, 3, 4, 6)] == [
        [b, h, last],
        [c, g, last],
        [f, j, k],
        [i, k],
    ]
    assert list(consistency_ranges(3, 7)) == [c, d, g, last]
    assert list(consistency_ranges(4, 7)) == [last]
    assert list(consistency_ranges(6, 7)) == [i, j, k]


@given(SIZES)
def test_the_root_of_any_size_is_the_definitions(size: int) -> None:
    tree = Tree(size)
    assert tree.root == by_definition(tree.leaves)
    assert all(tree.root_at(part) == by_definition(tree.leaves[:part]) for part in range(size + 1))


@given(SIZES, st.data())
def test_a_frontier_goes_on_from_any_size(size: int, data: st.DataObject) -> None:
    tree = Tree(size)
    part = data.draw(st.integers(0, size))
    frontier = Frontier(part, [tree.nodes[node] for node in peaks(part)])
    for leaf in tree.leaves[part:]:
        frontier.append(leaf)
    assert (frontier.size, frontier.root) == (size, tree.root)


@given(SIZES, st.data())
def test_every_leaf_is_proved_at_its_place_and_at_no_other(size: int, data: st.DataObject) -> None:
    tree = Tree(size)
    index = data.draw(st.integers(0, size - 1))
    ranges = inclusion_ranges(index, size)
    path = hashes_of(ranges, tree.nodes)
    assert len(nodes_of(ranges)) <= 2 * size.bit_length()
    assert root_by_inclusion(tree.leaves[index], index, size, path) == tree.root
    assert all(
        root_by_inclusion(tree.leaves[index], other, size, path) != tree.root
        for other in range(-1, size + 1)
        if other != index
    )
    assert root_by_inclusion(leaf_hash(b"another"), index, size, path) != tree.root
    for at in range(len(path)):
        bent = [*path[:at], leaf_hash(b"another"), *path[at + 1 :]]
        assert root_by_inclusion(tree.leaves[index], index, size, bent) != tree.root
    assert root_by_inclusion(tree.leaves[index], index, size, [*path, tree.root]) != tree.root
    assert not path or root_by_inclusion(tree.leaves[index], index, size, path[:-1]) != tree.root


@given(SIZES, st.data())
def test_a_tree_is_proved_to_be_the_beginning_of_its_later_self_and_of_nothing_else(
    size: int, data: st.DataObject
) -> None:
    tree = Tree(size)
    old = data.draw(st.integers(0, size))
    path = hashes_of(consistency_ranges(old, size), tree.nodes)
    old_root, another = tree.root_at(old), leaf_hash(b"another")
    assert is_consistent(old, old_root, size, tree.root, path)
    assert not is_consistent(old, another, size, tree.root, path)
    assert old == 0 or not is_consistent(old, old_root, size, another, path)
    assert not is_consistent(old, old_root, size, tree.root, [*path, another])
    for at in range(len(path)):
        assert not is_consistent(old, old_root, size, tree.root, [*path[:at], another, *path[at + 1 :]])
        assert not is_consistent(old, old_root, size, tree.root, [*path[:at], *path[at + 1 :]])


def test_what_no_tree_has_is_refused() -> None:
    with pytest.raises(ValueError, match="none at 3"):
        inclusion_ranges(3, 3)
    with pytest.raises(ValueError, match="never one of 4"):
        consistency_ranges(4, 3)
    with pytest.raises(ValueError, match="1 peaks, not 0"):
        Frontier(4)
    assert not is_consistent(4, EMPTY_ROOT, 3, EMPTY_ROOT, [])
