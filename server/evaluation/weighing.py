"""Asks a judged set's questions by words, by meaning, and by both with one weight after another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from domain.kernel import Principal
from knowledge.evaluation.judged import JudgedSet
from knowledge.evaluation.weights import GRID, Figures, Weighing, weighed
from knowledge.model import SearchMode
from server.evaluation.retrieval import measure_retrieval
from server.hub import Hub
from server.system_config import SearchConfig

PASSAGES, DOCUMENTS = "passage_ndcg@10", "ndcg@10"
_DEPTH = 10


class NothingToWeigh(Exception):
    """There are no two orders: no passage has a vector, or nobody gives the question one; the words are for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """By each figure of the set, what came out: chosen on the first half, and the other way round."""

    by_figure: Mapping[str, tuple[Weighing, Weighing]]
    """The first is what weights are chosen by: passages, where the set says which words answer."""

    @property
    def figure(self) -> str:
        return next(iter(self.by_figure))


async def weigh(
    hub: Hub, principal: Principal, judged: JudgedSet, constant: float | None, progress: Callable[[], None]
) -> Weighed:
    """Every weight of the grid, in searches through the gate as everybody makes them.

    `constant`: of reciprocal ranks; None: the one in force.

    Effect  the weights in force in this process are others while it goes on; the operator's file is not touched.
    Raises  NothingToWeigh, SearchRefused.
    """
    lexical = await _questions(hub, principal, judged, "lexical", progress)
    vector = await _questions(hub, principal, judged, "vector", progress)
    hybrid: dict[float, Mapping[str, Mapping[str, float]]] = {}
    before = hub.config.current
    try:
        for weight in GRID:
            told = {"lexical_weight": 1.0, "vector_weight": weight}
            told |= {} if constant is None else {"rank_constant": constant}
            search = before.search.model_copy(update=told)
            hub.config.current = before.model_copy(update={"search": SearchConfig.model_validate(search.model_dump())})
            hybrid[weight] = await _questions(hub, principal, judged, "hybrid", progress)
    finally:
        hub.config.current = before
    figures = (PASSAGES, DOCUMENTS) if any(PASSAGES in each for each in lexical.values()) else (DOCUMENTS,)
    return Weighed(by_figure={figure: _weighings(figure, lexical, vector, hybrid) for figure in figures})


async def _questions(
    hub: Hub, principal: Principal, judged: JudgedSet, mode: SearchMode, progress: Callable[[], None]
) -> Mapping[str, Mapping[str, float]]:
    measured = await measure_retrieval(hub, principal, judged, mode=mode, k=_DEPTH, progress=progress)
    done = measured.conditions["mode"]
    if done != mode:
        raise NothingToWeigh(
            f"the searches were done {done}, though {mode} was asked for: every document needs its vectors, and the"
            " embedding model must answer (`glow doctor`)"
        )
    return measured.questions


def _weighings(
    figure: str,
    lexical: Mapping[str, Mapping[str, float]],
    vector: Mapping[str, Mapping[str, float]],
    hybrid: Mapping[float, Mapping[str, Mapping[str, float]]],
) -> tuple[Weighing, Weighing]:
    legs = _of(figure, lexical), _of(figure, vector)
    by_weight = {weight: _of(figure, questions) for weight, questions in hybrid.items()}
    return weighed(*legs, by_weight), weighed(*legs, by_weight, swapped=True)


def _of(figure: str, questions: Mapping[str, Mapping[str, float]]) -> Figures:
    return {name: figures[figure] for name, figures in questions.items() if figure in figures}
