"""The measures of retrieval, against values computed by hand."""

import math

import pytest

from knowledge.evaluation.measures import mean, ndcg, percentile, recall, reciprocal_rank

RELEVANT = {"a": 3, "b": 2, "c": 1}


@pytest.mark.parametrize(
    ("ranking", "expected"),
    [
        (["a", "b", "c"], 1.0),
        # DCG 1/1 + 0 + 3/2 = 2.5; ideal 3 + 2/log2(3) + 1/2 = 4.761860
        (["c", "x", "a"], 2.5 / 4.761859507142915),
        # DCG 0 + 2/log2(3) = 1.261860
        (["x", "b"], 1.2618595071429148 / 4.761859507142915),
        (["x", "y"], 0.0),
        ([], 0.0),
    ],
)
def test_ndcg_is_the_discounted_gain_over_the_best_that_could_be(ranking: list[str], expected: float) -> None:
    assert ndcg(ranking, RELEVANT) == pytest.approx(expected, abs=1e-12)


def test_ndcg_looks_at_the_first_ten_only_and_so_does_its_ideal() -> None:
    ranking = [f"x{place}" for place in range(9)]
    assert ndcg([*ranking, "a"], {"a": 1}) == pytest.approx(1 / math.log2(11))
    assert ndcg([*ranking, "x9", "a"], {"a": 1}) == 0.0
    eleven = {f"d{place}": 1 for place in range(11)}
    assert ndcg(list(eleven)[:10], eleven) == 1.0


def test_recall_is_the_share_found_among_the_first_k() -> None:
    assert recall(["c", "x", "a"], RELEVANT, 1) == pytest.approx(1 / 3)
    assert recall(["c", "x", "a"], RELEVANT, 3) == pytest.approx(2 / 3)
    assert recall(["a"], {}, 3) == 0.0


def test_the_reciprocal_rank_is_of_the_first_that_is_relevant() -> None:
    assert reciprocal_rank(["x", "y", "c", "a"], RELEVANT) == pytest.approx(1 / 3)
    assert reciprocal_rank(["x"], RELEVANT) == 0.0


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(20, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile(values, 1)) == (10.0, 19.0, 20.0)
    assert percentile([7.0], 0.95) == 7.0


def test_the_mean_of_nothing_is_none() -> None:
    assert (mean([]), mean([1.0, 2.0])) == (None, 1.5)
