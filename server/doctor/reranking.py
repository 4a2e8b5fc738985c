"""Whether the server that looks at a search's first passages again answers, and tells an answer from what is none."""

import asyncio

from knowledge.embeddings.model import TokensUsed
from knowledge.reranking.model import RerankFailed
from server.doctor.finding import Finding, wrong
from server.doctor.models import MODEL_TIMEOUT_S
from server.hub import reranker_of
from server.settings import Settings

QUESTION = "Who signs the engagement letter?"
TEXTS = ("Tomatoes want sun and water.", "The engagement letter is signed by the engagement partner.")
"""The second answers."""


async def rerank_finding(settings: Settings) -> Finding:
    """Whether there is one, whether it answers, and whether its scores are the right way round."""
    server, reranker = settings.rerank_server, reranker_of(settings)
    if server is None or reranker is None:
        says = "none: what a search finds is ordered by words and meaning; set GLOW_RERANK_BASE_URL for a second look"
        return Finding(part="rerank", state="note", says=says)
    key = "no key" if server.api_key is None else "GLOW_RERANK_API_KEY"
    place = f"{server.model} at {server.base_url} ({server.api}), which is sent {key}"
    try:
        async with asyncio.timeout(MODEL_TIMEOUT_S):
            away, answering = await reranker.scores(QUESTION, TEXTS, TokensUsed())
    except (TimeoutError, RerankFailed) as fault:
        mend = "mend GLOW_RERANK_BASE_URL, _MODEL, _API or the key; until then searches keep their order"
        return wrong("rerank", f"{place}: {fault or 'The rerank server takes too long.'}", mend)
    finally:
        await reranker.close()
    if answering <= away:
        mend = "name a model that scores higher what answers better"
        return wrong("rerank", f"{place}: it scores what answers no higher than what does not", mend)
    return Finding(part="rerank", state="ok", says=place)
