"""An answer in the parts that its stream broke into: each further part is asked for, and joined to what was shown."""

from collections.abc import Iterable, Iterator

from agent.model import Finished, ModelEvent, ModelFailed, ModelRequest, TextDelta, Withdrawn
from agent.providers.seam import Differs, Joined, Seam, going_on

MOST_BREAKS = 2
"""How often an answer is taken up again; a model that breaks off more often is left to whoever comes next."""


class Parts:
    """One turn of one model: the request for its next part, and what is to be told of the events that come."""

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        self._seam: Seam | None = None
        self._breaks = 0
        self.shown = ""
        """The words that stand before the reader."""
        self.failure: ModelFailed | None = None
        """Why no further part is asked for."""

    def request(self) -> ModelRequest:
        """For what is still to be said: the whole, or what follows the words that were shown."""
        return going_on(self._request, self.shown)

    def take(self, event: ModelEvent) -> Iterable[ModelEvent]:
        """What is to be told of it."""
        if self._seam is not None:
            return self._joined(event, self._seam)
        if isinstance(event, TextDelta):
            self.shown += event.text
        return (event,)

    def break_off(self, failed: ModelFailed) -> None:
        """Another part shall be asked for if the answer had begun, and asking again may help; else that was its end."""
        self._breaks += 1
        if self._breaks > MOST_BREAKS or not (failed.begun and failed.retryable):
            self.failure = failed
        self._seam = Seam(self.shown) if self.shown.strip() else None

    def _joined(self, event: ModelEvent, seam: Seam) -> Iterator[ModelEvent]:
        if isinstance(event, TextDelta):
            yield from self._told(seam.take(event.text))
            return
        if isinstance(event, Finished):
            yield from self._told(seam.end())
        yield event

    def _told(self, words: Joined | Differs | None) -> Iterator[ModelEvent]:
        if isinstance(words, Differs):
            self.shown = ""
            yield Withdrawn(reason="model_interrupted")
        if words is not None and words.text:
            self.shown += words.text
            yield TextDelta(text=words.text)
