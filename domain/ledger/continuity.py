"""How a head is tied to those that somebody kept: it is one of them, or proofs of consistency lead there."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from domain.ledger.findings import Bad, Fault
from domain.ledger.tree import is_consistent
from domain.ledger.wire import HeadFile, HeadLine

CHANGED = "the rows of the kept head were changed since"


def check_tied(kept: Sequence[HeadLine], head: HeadLine, links: Sequence[HeadFile], *, of_call: bool = False) -> int:
    """How many rows the heads kept in a file cover, with which this one is of one tree. `kept`: at least one.
    `of_call`: it is the head of a call's proof.

    It is one of them; or `links` (`glow audit head --since`) lead to it from the newest of them; or, where it is older
    than that, from it to what was reached so.

    Raises  Bad: it is not, or nothing here shows that it is.
    """
    roots = _roots_of(kept, head.organization_id)
    newest = max(roots)
    reached = {**_reached_from(newest, roots[newest], links, head.organization_id), **roots}
    if head.size in reached:
        if reached[head.size] != head.root:
            _changed(head.size)
        return head.size if head.size in roots else newest
    for link in links:
        newer = link.head
        if newer is not None and link.since == head.size and reached.get(newer.size) == newer.root:
            if not _follows(head.size, head.root, newer, link):
                _changed(head.size)
            return newest
    ask = f"run `glow audit head --since {min(max(reached), head.size)}` and give what it prints by --consistency"
    if of_call:
        ask = f"have the call proved by `glow audit prove CALL_ID --since {newest}`, or {ask}"
    words = f"nothing ties this head of size {head.size} to the kept one of size {newest}: {ask}"
    raise Bad(Fault(code="kept_head", words=words))


def _roots_of(kept: Sequence[HeadLine], organization_id: str) -> Mapping[int, str]:
    roots: dict[int, str] = {}
    for each in kept:
        if each.organization_id != organization_id:
            raise Bad(Fault(code="organization", words="the kept head is another organization's"))
        if roots.setdefault(each.size, each.root) != each.root:
            _bad(f"kept heads of size {each.size} contradict one another")
    return roots


def _reached_from(size: int, root: str, links: Sequence[HeadFile], organization_id: str) -> Mapping[int, str]:
    """The root of each size to which proofs of consistency lead from that one, upwards, link by link."""
    reached = {size: root}
    for link in sorted(links, key=lambda link: link.since or 0):
        since, newer = link.since, link.head
        if since in reached and newer is not None and newer.organization_id == organization_id:
            if not _follows(since, reached[since], newer, link):
                _changed(since)
            if reached.setdefault(newer.size, newer.root) != newer.root:
                _bad(f"heads of size {newer.size} contradict one another")
    return reached


def _follows(size: int, root: str, head: HeadLine, link: HeadFile) -> bool:
    """Whether the tree of that size and root is the beginning of the head's, as the link would prove."""
    if size == head.size:
        return root == head.root
    path = [bytes.fromhex(each) for each in link.consistency]
    return 0 < size < head.size and is_consistent(size, bytes.fromhex(root), head.size, bytes.fromhex(head.root), path)


def _changed(size: int) -> NoReturn:
    raise Bad(Fault(code="kept_head", words=CHANGED, row=0, last_row=size - 1))


def _bad(words: str) -> NoReturn:
    raise Bad(Fault(code="kept_head", words=words))
