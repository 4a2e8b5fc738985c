"""One streamed turn of the Responses API: events in, text as it comes; all else at the end."""

from collections.abc import Callable

from agent.json_values import items, mapping, text, whole
from agent.model import CallRequested, Finished, ItemMade, Json, ModelEvent, Usage
from agent.providers.faults import ProviderFault
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
        self._refused = False
        self._usage: Usage | None = None

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
                self._refused = True
                self._say(event, pieces)
            case "response.output_item.added":
                self.begun = self._output.added(event) or self.begun
            case "response.output_item.done":
                self._item_done(event, pieces)
            case "error":
                self.break_off(event.get("error") or event)
            case kind if kind in _ENDS:
                self._ended(mapping(event.get("response")), kind.removeprefix("response."), pieces)
            case "":
                self._untyped(event, pieces)
            case _:
                pass

    def end(self) -> list[ModelEvent]:
        """What the provider wants back, the whole calls, the usage if it was said, and the one Finished.

        Raises  ProviderFault: the stream ended before the answer did.
        """
        if not self.finished:
            raise ProviderFault("interrupted", detail="the stream ended without response.completed")
        finished = self._finish()
        events: list[ModelEvent] = []
        # A turn that was cut off or refused has no calls: the last one may lack its end, and none is to be acted on.
        # Nor does its reasoning go back, which may lack its end as well.
        if finished.reason in ("calls", "stop"):
            calls, made = self._output.calls()
            events += [ItemMade(item=item) for item in made]
            events += [CallRequested(call=call) for call in calls]
        if self._usage is not None:
            events.append(self._usage)
        return [*events, finished]

    def _finish(self) -> Finished:
        if self._refused or self._incomplete == "content_filter":
            return Finished(reason="refusal")
        if self._status == "incomplete":
            return Finished(reason="length")
        return Finished(reason="calls" if self._output.has_calls else "stop")

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
        self._refused = self._refused or any(mapping(part).get("type") == "refusal" for part in parts)

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
        self._take_usage(mapping(response.get("usage")))

    def _take_usage(self, usage: Json) -> None:
        if usage:
            sent, received = whole(usage.get("input_tokens")), whole(usage.get("output_tokens"))
            self._usage = Usage(input_tokens=sent or 0, output_tokens=received or 0)

    def _untyped(self, event: Json, pieces: list[str]) -> None:
        if event.get("object") == "response":
            self._ended(event, "completed", pieces)
        elif error := event.get("error"):
            self.break_off(error)
