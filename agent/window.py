"""Keeps a request within the model's window: whole turns go, oldest first, and no call is parted from its result."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from agent.events import Json
from agent.frames import json_text
from agent.json_values import items, mapping, parsed
from agent.model import AssistantMessage, BackgroundMessage, Message, ModelFailed, ToolOffer, ToolResultMessage

ANSWER_SHARE = 4
"""One in so many tokens of the window is left free for the answer, but never more than ANSWER_TOKENS."""
ANSWER_TOKENS = 8_192
MESSAGE_TOKENS = 8
"""What a message or a call costs besides its words."""
SHORTENED_LENGTH = 1_500
"""Characters that stay of a result of the running turn where the window is full."""

UNSHOWN = BackgroundMessage(text="(Earlier turns of this conversation are not shown: it has become too long.)")


async def nothing_to_load() -> None:
    """Of what counts at once."""


class Window:
    """The tokens of one model, and what messages take of them.

    Counting is spared where it cannot matter: a text has no more tokens than bytes.
    """

    def __init__(
        self, tokens: int, count: Callable[[str], int], load: Callable[[], Awaitable[None]] = nothing_to_load
    ) -> None:
        """`load`: has what counts at hand, without holding anybody up; awaited before the first that is counted."""
        self._load = load
        self._room = tokens - min(tokens // ANSWER_SHARE, ANSWER_TOKENS)
        self._count = count
        self._counted: dict[str, int] = {}

    @property
    def room(self) -> int:
        """Tokens of a request, beside which its answer has room."""
        return self._room

    def takes(self, messages: Sequence[Message]) -> int:
        """The tokens of these messages."""
        return self._costs(messages)

    def offered(self, offers: Sequence[ToolOffer]) -> int:
        """The tokens of these offers."""
        return self._tokens(_offered(offers))

    async def ready(self, messages: Sequence[Message], offers: Sequence[ToolOffer], share: float = 1.0) -> None:
        """Be ready to count, where all this may take more than that share of the room."""
        if _bound(messages, _offered(offers)) > share * self._room:
            await self._load()

    def holds_more_than(self, share: float, messages: Sequence[Message], offers: Sequence[ToolOffer]) -> bool:
        """Whether all this takes more than that share of the room."""
        offered, most = _offered(offers), share * self._room
        return _bound(messages, offered) > most and self._costs(messages) + self._tokens(offered) > most

    def fitted(
        self,
        system: Message,
        offers: Sequence[ToolOffer],
        earlier: Sequence[Sequence[Message]],
        current: Sequence[Message],
        background: Sequence[Message] = (),
    ) -> list[Message]:
        """As many whole turns before `current` as fit, the newest; where it alone is too long, its results shortened.

        What stands in the background is never left out; where turns are, the model is told so.

        Raises  ModelFailed: context_too_long, when it does not fit even so.
        """
        offered = _offered(offers)
        head = [system, *background]
        whole = [*head, *(message for turn in earlier for message in turn), *current]
        if _bound(whole, offered) <= self._room:
            return whole
        # What is cut is no longer what the model reasoned on; its provider does without the reasoning, the words stay.
        turns, running = [_without_items(turn) for turn in earlier], _without_items(current)
        room = self._room - self._costs(head) - self._tokens(offered)
        kept = self._shortened(running, room)
        room -= self._costs(kept)
        newest = self._newest(turns, room)
        if UNSHOWN in head or len(newest) == sum(map(len, turns)) or self._cost(UNSHOWN) > room:
            return [*head, *newest, *kept]
        return [*head, UNSHOWN, *self._newest(turns, room - self._cost(UNSHOWN)), *kept]

    def _newest(self, earlier: Sequence[Sequence[Message]], room: int) -> list[Message]:
        kept: list[Message] = []
        for turn in reversed(earlier):
            room -= self._costs(turn)
            if room < 0:
                break
            kept = [*turn, *kept]
        return kept

    def _shortened(self, current: Sequence[Message], room: int) -> list[Message]:
        """The running turn with as few results shortened as needed, the oldest first."""
        kept = list(current)
        excess = self._costs(kept) - room
        for place, message in enumerate(kept):
            if excess <= 0:
                break
            if isinstance(message, ToolResultMessage):
                kept[place] = replace(message, text=shortened_text(message.text, SHORTENED_LENGTH))
                excess -= self._cost(message) - self._cost(kept[place])
        if excess > 0:
            raise ModelFailed("context_too_long", "This is longer than the model can read at once.", retryable=False)
        return kept

    def _costs(self, messages: Sequence[Message]) -> int:
        return sum(map(self._cost, messages))

    def _cost(self, message: Message) -> int:
        return sum(self._tokens(words) + MESSAGE_TOKENS for words in _words(message))

    def _tokens(self, words: str) -> int:
        if words not in self._counted:
            self._counted[words] = self._count(words)
        return self._counted[words]


def _offered(offers: Sequence[ToolOffer]) -> str:
    return "".join(json_text(offer) for offer in offers)


def _words(message: Message) -> list[str]:
    """Every text of a message that takes tokens."""
    if isinstance(message, AssistantMessage):
        items = (item.content for item in message.provider_items)
        return [message.text, *(call.name + call.arguments for call in message.calls), *items]
    return [message.text]


def _without_items(messages: Sequence[Message]) -> list[Message]:
    return [replace(each, provider_items=()) if isinstance(each, AssistantMessage) else each for each in messages]


def _bound(messages: Sequence[Message], offered: str) -> int:
    """A number of tokens that all this cannot exceed."""
    texts = [words for message in messages for words in _words(message)]
    return sum(_bytes(words) + MESSAGE_TOKENS for words in texts) + _bytes(offered)


def _bytes(words: str) -> int:
    return len(words) if words.isascii() else len(words.encode("utf-8", "surrogatepass"))


def shortened_text(text: str, length: int) -> str:
    """A result's text with its result cut to about `length` characters; it stays JSON, and says that it was cut."""
    if len(text) <= length:
        return text
    told = mapping(parsed(text))
    if "result" in told:
        return json_text({**told, "result": shortened(mapping(told["result"]), length)})
    return json_text({"shortened": text[:length], "note": _note(len(text) - length)})


def shortened(result: Json, length: int) -> Json:
    """`result` cut to about `length` characters: a list loses its last items, anything else the end of its text.

    What was read of a document stays a passage with its number, of fewer words.
    """
    whole = json_text(result)
    if len(whole) <= length:
        return result
    if read := _read_less(result, len(whole) - length):
        return read
    fitting = _leading(items(result.get("items")), length)
    if fitting:
        left_out = len(items(result.get("items"))) - len(fitting)
        return {**result, "items": fitting, "note": f"Shortened: {left_out} more items were left out."}
    return {"shortened": whole[:length], "note": _note(len(whole) - length)}


def _read_less(result: Json, over: int) -> Json | None:
    """A read of a document with its text cut by so many characters, and its end put there; None: it is no read."""
    words, start = result.get("text"), result.get("start")
    if not isinstance(words, str) or not isinstance(start, int) or len(words) <= over:
        return None
    words = words[:-over]
    return {**result, "text": words, "end": start + len(words), "note": _note(over)}


def _leading(listed: Sequence[object], length: int) -> list[object]:
    kept: list[object] = []
    for item in listed:
        length -= len(json_text(item))
        if length < 0:
            break
        kept.append(item)
    return kept


def _note(characters: int) -> str:
    return f"Shortened: {characters} more characters were left out."
