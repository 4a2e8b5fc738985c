"""Asks a judged set's questions of the search, as one principal, through the gate like anybody's."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from domain.kernel import CallId, Principal
from knowledge.evaluation.judged import JudgedSet
from knowledge.evaluation.retrieval import FoundPassage, Searched, overall_figures, question_figures
from knowledge.model import SearchMode
from knowledge.questions import unquoted
from server.evaluation.recording import Measured
from server.hub import Hub
from tools.outcomes import CallOutcome, CallRequest

PASSAGES = 100
"""Passages that each search is asked for: ten documents are among them, though many passages are of one."""


class SearchRefused(Exception):
    """A search that was not done."""

    def __init__(self, outcome: CallOutcome) -> None:
        super().__init__(f"the search ended {outcome.outcome}")
        self.outcome = outcome


async def measure_retrieval(
    hub: Hub, principal: Principal, judged: JudgedSet, *, mode: SearchMode, k: int, progress: Callable[[], None]
) -> Measured:
    """The figures of the set, and of each question that something answers.

    `mode` is what is asked for; the conditions say what the searches were really done by. What a question quotes is
    looked for as words: those who judged sets quoted to stress, and knew of no filter.
    Raises  SearchRefused.
    """
    searched: list[Searched] = []
    modes: dict[str, None] = {}
    for query in judged.queries:
        began = time.perf_counter()
        result = await _search(hub, principal, unquoted(query.text), mode)
        seconds = time.perf_counter() - began
        modes[str(result["mode"])] = None
        searched.append(Searched(query=query, passages=_passages(result), seconds=seconds))
        progress()
    questions = {each.query.query_id: question_figures(each, k) for each in searched if each.query.answerable}
    return Measured(
        kind="retrieval",
        judged=judged,
        conditions={"mode": "+".join(modes), "k": k},
        figures=overall_figures(searched, questions),
        questions=questions,
    )


async def _search(hub: Hub, principal: Principal, query: str, mode: SearchMode) -> Mapping[str, object]:
    arguments: dict[str, object] = {"query": query, "limit": PASSAGES, "mode": mode}
    request = CallRequest(call_id=CallId(hub.new_id()), tool="knowledge_search", arguments=arguments)
    outcome = await hub.gate.call(request, principal)
    if outcome.outcome != "done" or outcome.result is None:
        raise SearchRefused(outcome)
    return outcome.result


def _passages(result: Mapping[str, object]) -> Sequence[FoundPassage]:
    """A document is known by where it came from: that is its id in the corpus."""
    items = cast("list[dict[str, object]]", result["items"])
    return [FoundPassage(document=str(item["uri"]), text=str(item["text"])) for item in items]
