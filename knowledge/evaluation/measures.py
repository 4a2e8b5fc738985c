"""What a ranking is worth: the measures of information retrieval, each of one question, from 0 to 1."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice

EVERY = 10
"""The depth to which nDCG is computed, as BEIR does."""


def ndcg(ranking: Sequence[str], relevant: Mapping[str, int], k: int = EVERY) -> float:
    """Normalized discounted cumulative gain over the first `k`; a document's gain is its grade.

    Source  Järvelin and Kekäläinen, 2002, in the linear form that trec_eval computes as ndcg_cut.
    """
    best = sorted(relevant.values(), reverse=True)
    ideal = _discounted(best[:k])
    return _discounted([relevant.get(document, 0) for document in ranking[:k]]) / ideal if ideal else 0.0


def recall(ranking: Sequence[str], relevant: Mapping[str, int], k: int) -> float:
    """The share of the relevant documents that stand among the first `k`."""
    return len(set(ranking[:k]) & relevant.keys()) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], relevant: Mapping[str, int]) -> float:
    """One divided by the place of the first relevant document; 0 where there is none."""
    return next((1 / place for place, document in enumerate(ranking, start=1) if document in relevant), 0.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that `share` of them do not exceed."""
    if not values:
        raise ValueError("no values")
    place = max(1, math.ceil(share * len(values)))
    return next(islice(sorted(values), place - 1, None))


def mean(values: Sequence[float]) -> float | None:
    """The average; None where there is nothing to average."""
    return sum(values) / len(values) if values else None


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, start=1))
