"""One streamed turn of the Chat Completions API: chunks in, text as it comes, whole calls and the ending at the end."""

from collections.abc import Callable

from agent.json_values import items, mapping, text, whole
from agent.model import CallRequested, Finished, Json, ModelEvent, Usage
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
        self._refused = False
        self._usage: Usage | None = None

    @property
    def finished(self) -> bool:
        """The answer is whole: what may follow is the usage and a farewell."""
        return self._reason is not None or (self.done and self.begun and self.fault is None)

    def end(self) -> list[ModelEvent]:
        """The whole calls, the usage if it was said, and the one Finished.

        Raises  ProviderFault: the stream ended before the answer did.
        """
        if not self.finished:
            raise ProviderFault("interrupted", detail="the stream ended without a finish_reason")
        if self._reason in _BROKEN_OFF:
            raise ProviderFault("interrupted", detail=f"finish_reason {self._reason}")
        finished = self._finish()
        events: list[ModelEvent] = []
        # A turn that was cut off or refused has no calls: the last one may lack its end, and none is to be acted on.
        if finished.reason == "calls":
            events.extend(CallRequested(call=call) for call in self._calls.whole())
        if self._usage is not None:
            events.append(self._usage)
        events.append(finished)
        return events

    def _finish(self) -> Finished:
        if self._refused or self._reason == "content_filter":
            return Finished(reason="refusal")
        if self._reason == "length":
            return Finished(reason="length")
        # Servers disagree on the word (stop, tool_calls, function_call, eos ...); the calls themselves decide.
        return Finished(reason="calls" if self._calls else "stop")

    def take(self, event: Json, pieces: list[str]) -> None:
        """Takes one chunk."""
        error = event.get("error") or (event if event.get("object") == "error" else None)
        if error is not None:
            self.break_off(error)
            return
        self._take_usage(mapping(event.get("usage")))
        for choice in items(event.get("choices")):
            self._take_choice(mapping(choice), pieces)

    def _take_usage(self, usage: dict[str, object]) -> None:
        if usage:
            # Some servers repeat it with every chunk, growing: the last one holds.
            sent, received = whole(usage.get("prompt_tokens")), whole(usage.get("completion_tokens"))
            self._usage = Usage(input_tokens=sent or 0, output_tokens=received or 0)

    def _take_choice(self, choice: dict[str, object], pieces: list[str]) -> None:
        if choice.get("index") not in (0, None):
            return
        # `message` is how a server answers that does not stream.
        delta = mapping(choice.get("delta")) or mapping(choice.get("message"))
        for content in (_content(delta.get("content")), text(delta.get("refusal"))):
            if content:
                self.begun = True
                pieces.append(content)
        self._refused = self._refused or bool(text(delta.get("refusal")))
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
