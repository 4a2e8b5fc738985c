"""The output items of one response, put together from events that not every server sends completely."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agent.json_values import items, mapping, text, whole
from agent.model import Json, ProviderItem, ToolCall
from agent.providers.call_assembly import any_json, arguments_text, whole_call

_SENT_BACK = ("type", "id", "summary", "content", "encrypted_content")
"""The fields of reasoning that the API takes back; its `status` it does not."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Item:
    kind: str
    ids: set[str] = field(default_factory=set[str])
    index: int | None = None
    said: bool = False
    """Words of it were shown."""
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])
    reasoning: Json = field(default_factory=dict[str, object])


class OutputItems:
    """Collects items in the order in which they began.

    What was seen of servers: `added` left out, `done` left out, other ids in the one than in the other, no ids, output
    index 0 for all, arguments whole in `done` only or as an object, everything only in the last event.
    """

    def __init__(self, maker: str, new_call_id: Callable[[], str]) -> None:
        self._maker = maker
        self._new_call_id = new_call_id
        self._items: list[_Item] = []

    @property
    def has_words(self) -> bool:
        """Whether any words were shown."""
        return any(item.said for item in self._items)

    @property
    def has_calls(self) -> bool:
        """Whether any call was begun."""
        return any(item.kind == "function_call" for item in self._items)

    def added(self, event: Json) -> bool:
        """An item begins; True when it is a call."""
        told = mapping(event.get("item"))
        item = self._of(event, told)
        if item is not None:
            self._fill(item, told)
        return item is not None and item.kind == "function_call"

    def spoken(self, event: Json) -> None:
        """Words of a message were shown."""
        self._find_or_add(event, {}, "message").said = True

    def argued(self, event: Json) -> None:
        """A piece of a call's arguments, or (`done`) all of them."""
        whole_text, piece = arguments_text(event.get("arguments")), text(event.get("delta"))
        if not whole_text and not piece:
            return
        item = self._find_or_add(event, {}, "function_call")
        item.arguments = [whole_text] if whole_text else [*item.arguments, piece]
        item.name = item.name or text(event.get("name"))

    def finished(self, event: Json) -> str:
        """An item is whole; gives the words of a message of which none were shown before."""
        told = mapping(event.get("item"))
        item = self._of(event, told)
        if item is None:
            return ""
        self._fill(item, told)
        if item.kind == "reasoning":
            # Not before: while it is still being made, its encrypted content is not whole either.
            item.reasoning = _sent_back(told)
        if item.kind != "message" or item.said:
            return ""
        words = _words(told)
        item.said = bool(words)
        return words

    def completed(self, output: Iterable[object]) -> str:
        """The whole output as the last event repeats it: takes what the events before it left out, gives its words."""
        lacking = {"message": not self.has_words, "function_call": not self.has_calls, "reasoning": not self._reasons()}
        told = [mapping(each) for each in output]
        return "".join(self.finished({"item": each}) for each in told if lacking.get(text(each.get("type"))))

    def calls(self) -> tuple[list[ToolCall], list[ProviderItem]]:
        """The calls, each with an id of its own, and the reasoning that led to them or to the words.

        Raises  ProviderFault: a call without a name.
        """
        calls: list[ToolCall] = []
        kept: list[ProviderItem] = []
        leading: list[_Item] = []
        taken: set[str] = set()
        for item in self._items:
            if item.kind == "reasoning":
                leading.append(item)
            elif item.kind == "function_call":
                calls.append(self._call(item, taken))
                kept += self._kept(leading, calls[-1].provider_id)
                leading = []
            elif item.said:
                kept += self._kept(leading, None)
                leading = []
        return calls, kept

    def _call(self, item: _Item, taken: set[str]) -> ToolCall:
        arguments = "".join(item.arguments)
        return whole_call(item.call_id, item.name, arguments, taken=taken, new_call_id=self._new_call_id)

    def _kept(self, leading: Sequence[_Item], before: str | None) -> list[ProviderItem]:
        contents = (any_json(item.reasoning) for item in leading if item.reasoning)
        return [ProviderItem(maker=self._maker, content=content, before=before) for content in contents]

    def _reasons(self) -> bool:
        return any(item.reasoning for item in self._items)

    def _of(self, event: Json, told: Json) -> _Item | None:
        """The item that an event with a whole item is about; None: of a kind that is not ours to read."""
        kind = text(told.get("type"))
        return self._find_or_add(event, told, kind) if kind in ("message", "function_call", "reasoning") else None

    def _find_or_add(self, event: Json, told: Json, kind: str) -> _Item:
        item_id, index = text(event.get("item_id")) or text(told.get("id")), whole(event.get("output_index"))
        alike = [item for item in self._items if item.kind == kind and _may_be(item, told)]
        item = _found(alike, item_id, index)
        if item is None and not told and index is None and alike:
            item = alike[-1]
        if item is None:
            item = _Item(kind=kind, index=index)
            self._items.append(item)
        if item_id:
            item.ids.add(item_id)
        return item

    def _fill(self, item: _Item, told: Json) -> None:
        item.call_id = text(told.get("call_id")) or item.call_id
        item.name = text(told.get("name")) or item.name
        if arguments := arguments_text(told.get("arguments")):
            item.arguments = [arguments]


def _may_be(item: _Item, told: Json) -> bool:
    if item.reasoning:
        # It is whole already: another of the same place is another.
        return text(told.get("id")) in item.ids
    call_id = text(told.get("call_id"))
    return not call_id or not item.call_id or item.call_id == call_id


def _found(alike: Sequence[_Item], item_id: str, index: int | None) -> _Item | None:
    """The item by its id, else by its place."""
    by_id = [item for item in alike if item_id and item_id in item.ids]
    by_index = [item for item in alike if index is not None and item.index == index]
    known = by_id or by_index
    return known[-1] if known else None


def _words(message: Json) -> str:
    parts = [mapping(part) for part in items(message.get("content"))]
    return "".join(text(part.get("text")) or text(part.get("refusal")) for part in parts)


def _sent_back(told: Json) -> Json:
    """Reasoning as it can be sent back; empty where it is only named, since nothing is stored under its name."""
    if not (told.get("encrypted_content") or told.get("content")):
        return {}
    empty: Json = {"summary": list[object]()}
    return empty | {key: told[key] for key in _SENT_BACK if told.get(key) is not None}
