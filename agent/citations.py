"""Passages get numbers as they are found; the numbers that the answer then uses become its citations."""

import re

from agent.events import Citation, Json
from agent.json_values import items, mapping, text, whole

SEARCH = "knowledge_search"
QUOTE_LENGTH = 400

_MARKERS = re.compile(r"\[(\d{1,6}(?:\s*,\s*\d{1,6})*)\]")


class CitationBook:
    """The passages that a conversation's model has been given, by number.

    Numbers run on from turn to turn, so that a number means one passage wherever the model sees it.
    """

    def __init__(self) -> None:
        self._by_marker: dict[int, Citation] = {}
        self._by_chunk: dict[str, int] = {}

    def mark(self, tool: str, result: Json) -> Json:
        """The result with a `marker` on each passage, for the model and for readers; the recorded one has none."""
        if tool != SEARCH:
            return result
        return {**result, "items": [self._marked(passage) for passage in items(result.get("items"))]}

    def remember(self, tool: str, result: Json) -> None:
        """Take up passages that were marked in an earlier turn."""
        if tool == SEARCH:
            for passage in map(mapping, items(result.get("items"))):
                self._enter(passage, whole(passage.get("marker")))

    def cited(self, words: str) -> tuple[Citation, ...]:
        """The passages that `words` cite as [n], in order of appearance, each once; unknown numbers stay mere text."""
        numbers = (int(each) for found in _MARKERS.finditer(words) for each in found[1].split(","))
        return tuple(self._by_marker[each] for each in dict.fromkeys(numbers) if each in self._by_marker)

    def _marked(self, passage: object) -> object:
        known = mapping(passage)
        marker = self._enter(known, None)
        return passage if marker is None else {"marker": marker, **known}

    def _enter(self, passage: Json, given: int | None) -> int | None:
        """The passage's number, a new one where it has none; None for what is no passage."""
        chunk_id = text(passage.get("chunk_id"))
        if not chunk_id or chunk_id in self._by_chunk:
            return self._by_chunk.get(chunk_id)
        marker = given or max(self._by_marker, default=0) + 1
        self._by_chunk[chunk_id] = marker
        self._by_marker[marker] = _citation(marker, passage)
        return marker


def _citation(marker: int, passage: Json) -> Citation:
    return Citation(
        marker=marker,
        document_id=text(passage.get("document_id")),
        chunk_id=text(passage.get("chunk_id")),
        title=text(passage.get("title")),
        uri=text(passage.get("uri")),
        start=whole(passage.get("start")) or 0,
        end=whole(passage.get("end")) or 0,
        quote=_quote(text(passage.get("text"))),
        page=whole(passage.get("page")),
        section=text(passage.get("section")) or None,
    )


def _quote(words: str) -> str:
    return words if len(words) <= QUOTE_LENGTH else words[: QUOTE_LENGTH - 1] + "…"
