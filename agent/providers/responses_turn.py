"""One streamed turn of the Responses API: events in, text as it comes; all else at the end."""

from collections.abc import Callable

from agent.json_values import items, mapping, text
from agent.model import CallRequested, FinishReason, ItemMade, Json, ModelEvent
from agent.providers.responses_output import OutputItems
from agent.providers.turn import ProviderTurn

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class ResponsesTurn(ProviderTurn):
    """Folds the events of one response."""

    def __init__(self, maker: str, new_call_id: Callable[[], str]) -> None:
        super().__init__()
        self._output = OutputItems(maker, new_call_id)
        self._status = ""
        self._incomplete = ""
        """Why, where the response is incomplete."""

    @property
    def finished(self) -> bool:
        """The answer is whole; a few servers say [DONE] instead of `response.completed`."""
        return bool(self._status) or (self.done and self.begun and self.fault is None)

    def take(self, event: Json, pieces: list[str]) -> None:
        """Takes one event; what the hub does not ask for (summaries, annotations, built-in tools) is passed over."""
        match text(event.get("type")):
            case "response.output_text.delta":
                self._say(event, pieces)
            case "response.function_call_arguments.delta" | "response.function_call_arguments.done":
                self.begun = True
                self._output.argued(event)
            case "response.refusal.delta":
                self.refused = True
                self._say(event, pieces)
            case "response.output_item.added":
                self.reasons = text(mapping(event.get("item")).get("type")) == "reasoning"
                self.begun = self._output.added(event) or self.begun
            case "response.output_item.done":
                self.reasons = False
                self._item_done(event, pieces)
            case "error":
                self.break_off(event.get("error") or event)
            case kind if kind in _ENDS:
                self._ended(mapping(event.get("response")), kind.removeprefix("response."), pieces)
            case "":
                self._untyped(event, pieces)
            case _:
                pass

    def reason(self) -> FinishReason:
        """By the response's status, and its calls."""
        if self._incomplete == "content_filter":
            return "filtered"
        if self._status == "incomplete":
            return "length"
        return "calls" if self._output.has_calls else "stop"

    def made(self) -> list[ModelEvent]:
        """The reasoning, and the whole calls."""
        calls, made = self._output.calls()
        return [*(ItemMade(item=item) for item in made), *(CallRequested(call=call) for call in calls)]

    def _say(self, event: Json, pieces: list[str]) -> None:
        if delta := text(event.get("delta")):
            self.begun = True
            self._output.spoken(event)
            pieces.append(delta)

    def _item_done(self, event: Json, pieces: list[str]) -> None:
        words = self._output.finished(event)
        self._note_refusal(event.get("item"))
        self.begun = self.begun or bool(words) or self._output.has_calls
        pieces.append(words)

    def _note_refusal(self, message: object) -> None:
        parts = items(mapping(message).get("content"))
        self.refused = self.refused or any(mapping(part).get("type") == "refusal" for part in parts)

    def _ended(self, response: Json, said: str, pieces: list[str]) -> None:
        """The last event, or the whole body of a server that does not stream."""
        status = text(response.get("status")) or said
        if status in ("failed", "cancelled"):
            self.break_off(response.get("error") or {"message": f"response {status}"})
            return
        output = items(response.get("output"))
        pieces.append(self._output.completed(output))
        for item in output:
            self._note_refusal(item)
        self._status = status
        self._incomplete = text(mapping(response.get("incomplete_details")).get("reason"))
        self.take_usage(response.get("usage"), "input_tokens", "output_tokens")

    def _untyped(self, event: Json, pieces: list[str]) -> None:
        if event.get("object") == "response":
            self._ended(event, "completed", pieces)
        elif error := event.get("error"):
            self.break_off(error)
