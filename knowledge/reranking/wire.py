"""One request to a rerank server and its answer, in either of the two forms that there are, past any network.

`cohere`: {"model", "query", "documents"} -> {"results": [{"index", "relevance_score"}]}, as Cohere, Jina, vLLM,
Infinity, llama.cpp and LiteLLM have it. `tei`: {"query", "texts"} -> [{"index", "score"}], as Text
Embeddings Inference has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

import orjson

from knowledge.reranking.model import RerankFailed

RerankApi = Literal["cohere", "tei"]

LONGEST_TEXT: Final = 8_000
"""Characters of one passage; cross-encoders read a few hundred tokens, and a passage has 320."""
MOST_TOLD: Final = 1_000_000_000


def request_bytes(api: RerankApi, model: str, question: str, texts: Sequence[str]) -> bytes:
    """The body that asks for one score a text."""
    sendable = [_sendable(text) for text in texts]
    if api == "tei":
        return orjson.dumps({"query": _sendable(question), "texts": sendable, "truncate": True})
    asked = {"model": model, "query": _sendable(question), "documents": sendable, "top_n": len(texts)}
    return orjson.dumps(asked)


def scores_of(api: RerankApi, body: bytes, count: int) -> tuple[list[float], int | None]:
    """The scores in the order of the texts, and how many tokens it says that it has read.

    Raises  RerankFailed: it is none, or not exactly one number for each text.
    """
    key = "score" if api == "tei" else "relevance_score"
    try:
        answer = cast("object", orjson.loads(body))
        listed = answer if api == "tei" else cast("dict[str, object]", answer)["results"]
        scored = {each["index"]: each[key] for each in cast("list[dict[str, object]]", listed)}
        told = len(cast("list[object]", listed))
    except (ValueError, KeyError, TypeError) as unreadable:
        raise RerankFailed("its answer cannot be read") from unreadable
    if told != count or scored.keys() != set(range(count)) or any(type(index) is not int for index in scored):
        raise RerankFailed(f"its answer does not score each of {count} passages once")
    scores = [scored[place] for place in range(count)]
    if any(type(score) not in (int, float) or not math.isfinite(cast("float", score)) for score in scores):
        raise RerankFailed("a score of its answer is no number")
    return [float(cast("float", score)) for score in scores], _tokens(answer)


def refusal_of(status: int) -> str:
    """Why an answer is none, by its status."""
    match status:
        case 401 | 403:
            return f"it refuses our key (HTTP {status})"
        case 404:
            return "it does not know this model or address (HTTP 404)"
        case 429:
            return "it is asked too much, or its quota is used up (HTTP 429)"
        case _:
            return f"it answered HTTP {status}"


def _sendable(text: str) -> str:
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")


def _tokens(answer: object) -> int | None:
    usage = cast("Mapping[str, object]", answer).get("usage") if isinstance(answer, dict) else None
    told = cast("Mapping[str, object]", usage).get("total_tokens") if isinstance(usage, dict) else None
    return told if type(told) is int and 0 <= told <= MOST_TOLD else None
