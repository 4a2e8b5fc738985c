"""`glow search`: one knowledge_search through the gate, its passages with what pins them down."""

from typing import Any, cast

from domain.kernel import CallId
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, envelope


def search(query: str, organization: str, user: str | None, limit: int, *, explain: bool, as_json: bool) -> bool:
    """Print what is found; False when the call was refused."""
    outcome = run(_search(query, organization, user, limit, explain))
    if as_json:
        say_json(outcome.result if outcome.outcome == "done" else envelope(outcome))
    elif outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        if "without_phrases" in outcome.result:
            say("No passage holds the quoted words next to one another. Found by the words alone:\n")
        _print(cast("list[dict[str, Any]]", outcome.result["items"]))
        if explain and "rerank" in outcome.result:
            _print_rerank(cast("dict[str, Any]", outcome.result["rerank"]))
    return outcome.outcome == "done"


async def _search(query: str, organization: str, user: str | None, limit: int, explain: bool) -> CallOutcome:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        arguments = {"query": query, "limit": limit, "explain": explain}
        request = CallRequest(call_id=CallId(hub.new_id()), tool="knowledge_search", arguments=arguments)
        return await hub.gate.call(request, principal)


def _print(passages: list[dict[str, Any]]) -> None:
    if not passages:
        say("Nothing was found.")
    for number, passage in enumerate(passages, start=1):
        say(f"{number}. {passage['title']}, {_place(passage)}")
        say("\n".join(f"   {line}" for line in str(passage["text"]).strip().splitlines()))
        if "also_in" in passage:
            say(f"   The same stands in: {', '.join(str(other['title']) for other in passage['also_in'])}")
        if "explain" in passage:
            _print_why(passage["explain"])
        say()


def _print_rerank(rerank: dict[str, Any]) -> None:
    if rerank["done"]:
        say(f"The first of them were put in order by {rerank['model']}.")
    else:
        say(f"{rerank['model']} did not put them in order: {rerank['reason']}.")


def _print_why(why: dict[str, Any]) -> None:
    places = [
        f"{words} {why[rank]} ({why[score]:.3f})"
        for words, rank, score in (
            ("by words", "lexical_rank", "lexical_score"),
            ("by meaning", "vector_rank", "similarity"),
        )
        if rank in why
    ]
    second = f", then by {why['rerank_score']:.4f} of the second stage" if "rerank_score" in why else ""
    say(f"   why: {', '.join(places)}; ordered by {why['fused_score']:.4f}{second}")
    for term in why["terms"]:
        written = term["written"] if term["written"] == term["term"] else f"{term['written']} as {term['term']}"
        say(f"        {written}: {term['frequency']} x, weight {term['weight']:.2f}, adds {term['score']:.3f}")


def _place(passage: dict[str, Any]) -> str:
    """Where the passage stands: section, page and characters."""
    parts = [f"characters {passage['start']}-{passage['end']}"]
    if "page" in passage:
        parts.insert(0, f"page {passage['page']}")
    if "section" in passage:
        parts.insert(0, str(passage["section"]))
    return ", ".join(parts)
