"""What the search benchmark holds answers to: whom its documents are for, and the exact ten."""

import numpy as np
import pytest

from benchmarks.corpus import Corpus
from benchmarks.firms import Member, large_members, partner

CHUNKS, K = 2_000, 10


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(CHUNKS)


def members(corpus: Corpus) -> list[Member]:
    large, *small = corpus.organizations
    return [*large_members(large), partner(small[-1])]


def test_each_member_sees_its_share_of_the_own_organizations_chunks(corpus: Corpus) -> None:
    large = large_members(corpus.organizations[0])
    shares = [corpus.seen_by(member).mean() for member in large]
    assert shares == pytest.approx([0.85, 0.88, 0.08, 0.01])
    assert all(len(corpus.seen_by(member)) == CHUNKS for member in large)


def test_the_exact_answers_are_the_best_of_what_the_member_may_see(corpus: Corpus) -> None:
    for member in members(corpus):
        first, seen = member.organization.chunks.start, corpus.seen_by(member)
        queries = corpus.queries(member, 3)
        for query, nearest in zip(queries, corpus.nearest(member, queries, K), strict=True):
            may_see = first + np.flatnonzero(seen)
            by_distance = sorted(may_see, key=lambda chunk: -float(corpus.vectors[chunk] @ query.vector))
            assert nearest >= {int(chunk) for chunk in by_distance[:K]}
            assert nearest <= {int(chunk) for chunk in may_see}
            best = corpus.best_by_words(member, query, K)
            assert best <= {int(chunk) for chunk in may_see}
            assert all(set(query.terms) & set(corpus.drawn[chunk].tolist()) for chunk in best)
