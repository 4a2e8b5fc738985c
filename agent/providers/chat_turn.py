"""One streamed turn of the Chat Completions API: chunks in, text as it comes, whole calls and the ending at the end."""

from collections.abc import Callable

from agent.json_values import items, mapping, text
from agent.model import CallRequested, FinishReason, Json, ModelEvent
from agent.providers.call_assembly import CallAssembly
from agent.providers.faults import ProviderFault
from agent.providers.turn import ProviderTurn

_BROKEN_OFF = frozenset({"error", "insufficient_system_resource"})


class ChatTurn(ProviderTurn):
    """Folds the chunks of one response; choices other than the first are ignored."""

    def __init__(self, new_call_id: Callable[[], str]) -> None:
        super().__init__()
        self._calls = CallAssembly(new_call_id)
        self._reason: str | None = None

    @property
    def finished(self) -> bool:
        """The answer is whole: what may follow is the usage and a farewell."""
        return self._reason is not None or (self.done and self.begun and self.fault is None)

    def reason(self) -> FinishReason:
        """By the provider's word; servers disagree on most of them, so that the calls themselves decide."""
        if self._reason in _BROKEN_OFF:
            raise ProviderFault("interrupted", detail=f"finish_reason {self._reason}")
        if self._reason == "content_filter":
            return "filtered"
        if self._reason == "length":
            return "length"
        return "calls" if self._calls else "stop"

    def made(self) -> list[ModelEvent]:
        """The whole calls."""
        return [CallRequested(call=call) for call in self._calls.whole()]

    def take(self, event: Json, pieces: list[str]) -> None:
        """Takes one chunk."""
        error = event.get("error") or (event if event.get("object") == "error" else None)
        if error is not None:
            self.break_off(error)
            return
        self.take_usage(event.get("usage"), "prompt_tokens", "completion_tokens")
        for choice in items(event.get("choices")):
            self._take_choice(mapping(choice), pieces)

    def _take_choice(self, choice: dict[str, object], pieces: list[str]) -> None:
        if choice.get("index") not in (0, None):
            return
        # `message` is how a server answers that does not stream.
        delta = mapping(choice.get("delta")) or mapping(choice.get("message"))
        for content in (_content(delta.get("content")), text(delta.get("refusal"))):
            if content:
                self.begun = True
                pieces.append(content)
        self.refused = self.refused or bool(text(delta.get("refusal")))
        for fragment in items(delta.get("tool_calls")):
            if fragment:
                self.begun = True
                self._calls.add(mapping(fragment))
        self._reason = text(choice.get("finish_reason")) or self._reason


def _content(content: object) -> str:
    """The text of a delta; a few servers send a list of typed parts instead of a string."""
    if isinstance(content, str):
        return content
    return "".join(text(mapping(part).get("text")) for part in items(content))
