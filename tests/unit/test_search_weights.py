"""Weights are chosen on one half of a judged set and judged on the other, which has no part in the choice."""

import pytest

from knowledge.evaluation.weights import first_and_second, weighed

QUESTIONS = [f"q{number}" for number in range(20)]
FIRST, SECOND = first_and_second(QUESTIONS)


def flat(value: float) -> dict[str, float]:
    return dict.fromkeys(QUESTIONS, value)


def test_the_halves_are_the_same_whatever_the_sets_own_order_is() -> None:
    assert (sorted(FIRST), sorted(SECOND)) == tuple(map(sorted, first_and_second(QUESTIONS[::-1])))
    assert sorted(FIRST + SECOND) == sorted(QUESTIONS)
    assert len(FIRST) == len(SECOND) == 10


def test_the_choice_sees_nothing_of_the_half_that_judges_it() -> None:
    fitted = {query: 1.0 if query in FIRST else 0.0 for query in QUESTIONS}
    honest = flat(0.6)
    chosen = weighed(flat(0.5), flat(0.4), {0.3: fitted, 1.0: honest})
    assert (chosen.best, chosen.held_out, chosen.better_leg) == (0.3, 0.0, pytest.approx(0.5))
    other = weighed(flat(0.5), flat(0.4), {0.3: fitted, 1.0: honest}, swapped=True)
    assert (other.best, other.held_out) == (1.0, pytest.approx(0.6))


def test_of_weights_that_are_as_good_the_one_in_their_midst_is_taken() -> None:
    weights = {weight: flat(0.7) for weight in (0.1, 0.2, 0.5)} | {1.0: flat(0.6)}
    chosen = weighed(flat(0.5), flat(0.4), weights)
    assert chosen.best == 0.2
    means = (chosen.by_weight[0.2].all, chosen.lexical.all, chosen.vector.all)
    assert means == (pytest.approx(0.7), pytest.approx(0.5), pytest.approx(0.4))
