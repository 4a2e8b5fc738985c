"""Whether there is a server for vectors, and an index for those it gives."""

import asyncio
from collections.abc import AsyncGenerator

from knowledge.embeddings.local import INSTALL
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable
from server.database.embedding_index import is_indexed
from server.database.errors import DatabaseUnavailable
from server.database.inspection import lacking_vectors
from server.doctor.finding import Finding, wrong
from server.doctor.models import MODEL_TIMEOUT_S
from server.hub import embedder_of
from server.settings import LOCAL_EMBEDDINGS, NO_EMBEDDINGS, EmbeddingServer, Settings


async def embeddings_finding(settings: Settings, app_url: str) -> Finding:
    """Whether there is a server for vectors, and an index for those it gives; and which key it is sent."""
    server, embedder = settings.embedding_server, embedder_of(settings)
    if embedder is None:
        return Finding(part="embeddings", state="note", says=_why_none(settings))
    place = _place(embedder.model, server, settings)
    try:
        async with asyncio.timeout(MODEL_TIMEOUT_S):
            vector = await embedder.embed_question("Does it answer?")
            indexed = await is_indexed(app_url, await embedder.space())
    except (TimeoutError, EmbeddingsUnavailable, EmbeddingsRefused) as fault:
        mend = f"{_mend(server)}; until then search is by words"
        return wrong("embeddings", f"{place}: {fault or 'The embedding server takes too long.'}", mend)
    except DatabaseUnavailable:
        return Finding(part="embeddings", state="note", says="not known while the database does not answer")
    finally:
        await embedder.close()
    if not indexed:
        mend = "run `glow migrate`, which makes it beside traffic"
        return wrong("embeddings", f"{place}: its vectors have no index, so that search is slow", mend)
    return Finding(part="embeddings", state="ok", says=f"{place}: {len(vector)} numbers a vector, indexed")


async def vectors_findings(settings: Settings, service_url: str) -> AsyncGenerator[Finding]:
    """Which documents have no vectors, or not all, where there is somebody to ask for them."""
    if settings.embedding_model == NO_EMBEDDINGS or (
        settings.embedding_server is None and settings.embedding_model != LOCAL_EMBEDDINGS
    ):
        return
    try:
        lacking = await lacking_vectors(service_url)
    except DatabaseUnavailable:
        return
    if lacking.refused:
        says = (
            f"documents with passages that got none: {lacking.refused}; these are found by their words alone, and are "
            "asked for again once a day (each document says why: `failure`)"
        )
        yield Finding(part="vectors", state="note", says=says)
    if lacking.waiting:
        says = f"documents that wait for theirs: {lacking.waiting}"
        yield Finding(part="vectors", state="note", says=says)


def _place(model: str, server: EmbeddingServer | None, settings: Settings) -> str:
    """Who gives vectors, and where texts go for them."""
    if server is None:
        return f"{model} in this process, which sends no text anywhere"
    return f"{model} at {server.base_url}, {_sent(server, settings)}"


def _mend(server: EmbeddingServer | None) -> str:
    if server is None:
        return f"install the extra again: {INSTALL}"
    return "mend GLOW_EMBEDDING_BASE_URL, GLOW_EMBEDDING_MODEL or the key"


def _why_none(settings: Settings) -> str:
    if settings.embedding_model == NO_EMBEDDINGS:
        return f"none: GLOW_EMBEDDING_MODEL={NO_EMBEDDINGS} keeps documents from any server, and search is by words"
    return (
        "none: search is by words; set OPENAI_API_KEY or GLOW_EMBEDDING_BASE_URL to search by meaning too, "
        f"or GLOW_EMBEDDING_MODEL={LOCAL_EMBEDDINGS} to do it without any server"
    )


def _sent(server: EmbeddingServer, settings: Settings) -> str:
    """Which key the embedding server is shown."""
    if server.key_variable is not None:
        return f"which is sent {server.key_variable}"
    withheld = " (OPENAI_API_KEY is for the model's server; GLOW_EMBEDDING_API_KEY would be for this one)"
    return "which is sent no key" + (withheld if settings.openai_api_key is not None else "")
