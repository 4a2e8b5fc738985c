"""Asks a judged set's questions of the agent, each in a conversation of its own, by the path of every chat."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from agent.citations import SEARCH
from agent.frames import RunSummary
from agent.grounding import says_not_found
from agent.json_values import items, mapping, text
from agent.run_opening import NewMessage
from domain.kernel import Principal
from knowledge.evaluation.answers import Answered, answer_figures, answers_figures
from knowledge.evaluation.judged import JudgedQuery, JudgedSet
from knowledge.evaluation.retrieval import FoundPassage
from server.evaluation.recording import Measured
from server.hub import Hub


async def measure_answers(
    hub: Hub, principal: Principal, judged: JudgedSet, *, agent: str | None, progress: Callable[[], None]
) -> Measured:
    """The figures of the set, and of each question; `agent` answers, or whoever answers by default.

    Raises  DomainError: a message that was not taken.
    """
    persona = hub.orchestrator.persona(agent)
    asking, questions = replace(principal, mode="agent"), dict[str, dict[str, float]]()
    for query in judged.queries:
        begun = await hub.runs.start(asking, NewMessage(message=query.text, agent=persona.name))
        summary = await hub.runs.answer(asking, begun.run_id)
        if summary.status == "waiting":
            await hub.runs.cancel(asking, begun.run_id)
        questions[query.query_id] = answer_figures(_answered(query, summary))
        progress()
    return Measured(
        kind="answers",
        judged=judged,
        conditions={"agent": persona.name, "model": hub.orchestrator.model_of(persona).name},
        figures=answers_figures(questions),
        questions=questions,
    )


def _answered(query: JudgedQuery, summary: RunSummary) -> Answered:
    passages = dict(_passages(summary))
    cited = [mapping(each) for each in summary.citations]
    good = [each for each in cited if each.get("fault") is None]
    return Answered(
        query=query,
        cited=[passages.get(text(each.get("chunk_id"))) or _quoted(each) for each in good],
        refused=says_not_found(summary.text),
        failed_citations=len(cited) - len(good),
        completed=summary.status == "completed",
    )


def _passages(summary: RunSummary) -> Iterator[tuple[str, FoundPassage]]:
    """What the run's searches gave, by chunk."""
    for call in summary.tool_calls:
        if call.get("tool") == SEARCH:
            for found in map(mapping, items(mapping(call.get("result")).get("items"))):
                passage = FoundPassage(document=text(found.get("uri")), text=text(found.get("text")))
                yield text(found.get("chunk_id")), passage


def _quoted(citation: Mapping[str, object]) -> FoundPassage:
    return FoundPassage(document=text(citation.get("uri")), text=text(citation.get("quote")))
