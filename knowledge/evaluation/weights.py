"""What words and meaning should count in a fused search: chosen on one half of a judged set, judged on the other."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
"""What meaning counts where words count 1."""

Figures = Mapping[str, float]
"""By question, one figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """One figure's mean over the half that weights are chosen on, over the half held out, and over all questions."""

    chosen_on: float
    held_out: float
    all: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """Every weight that was tried, both orders by themselves, and the weight that is best on the first half."""

    lexical: Means
    vector: Means
    by_weight: Mapping[float, Means]
    best: float

    @property
    def held_out(self) -> float:
        """What the chosen weight is worth on questions that had no part in choosing it."""
        return self.by_weight[self.best].held_out

    @property
    def better_leg(self) -> float:
        """The same of the better of the two orders by themselves."""
        return max(self.lexical.held_out, self.vector.held_out)


def weighed(
    lexical: Figures, vector: Figures, by_weight: Mapping[float, Figures], *, swapped: bool = False
) -> Weighing:
    """The weight that is best on the first half of the questions, and everything beside it on the second.

    `swapped`: chosen on the second, judged on the first. Of weights that are as good as one another the one in the
    midst of them is taken: it has most room on both sides.
    """
    halves = first_and_second(list(lexical))
    on, out = reversed(halves) if swapped else halves
    means = {weight: _means(figures, on, out) for weight, figures in by_weight.items()}
    top = max(each.chosen_on for each in means.values())
    tied = sorted(weight for weight, each in means.items() if each.chosen_on >= top - 1e-9)
    return Weighing(
        lexical=_means(lexical, on, out),
        vector=_means(vector, on, out),
        by_weight=means,
        best=tied[len(tied) // 2],
    )


def first_and_second(questions: Sequence[str]) -> tuple[list[str], list[str]]:
    """The questions in two halves, by a digest of their ids: the same each time, and in no order of the set's own."""
    ordered = sorted(questions, key=lambda each: hashlib.sha256(each.encode("utf-8", "surrogatepass")).digest())
    return ordered[::2], ordered[1::2]


def _means(figures: Figures, on: Sequence[str], out: Sequence[str]) -> Means:
    return Means(chosen_on=_mean(figures, on), held_out=_mean(figures, out), all=_mean(figures, [*on, *out]))


def _mean(figures: Figures, questions: Sequence[str]) -> float:
    return sum(figures[each] for each in questions) / len(questions) if questions else 0.0
