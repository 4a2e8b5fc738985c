"""Events that are told again, held to the frames that were stored, byte for byte."""

from collections.abc import Sequence

from agent.events import AgentEvent, MessageDelta, RunFrame
from agent.frames import frame_of
from agent.json_values import mapping, parsed, text
from agent.replay.model import Divergence
from domain.kernel import RunId


class Comparison:
    """Takes events in order, until the first that comes out otherwise.

    How many words went into one frame was a matter of the moment, not of the code: words are cut as they were then.
    """

    def __init__(self, run_id: RunId, frames: Sequence[RunFrame]) -> None:
        self._run_id = run_id
        self._frames = frames
        self._words: MessageDelta | None = None
        self.same = 0
        """Events that came out as recorded."""
        self.divergence: Divergence | None = None

    @property
    def expected(self) -> RunFrame | None:
        """The next recorded frame."""
        return self._frames[self.same] if self.same < len(self._frames) else None

    def take(self, event: AgentEvent) -> None:
        """The next event."""
        if self.divergence is not None:
            return
        held = self._words
        if isinstance(event, MessageDelta):
            if held is not None and held.message_id == event.message_id:
                event = MessageDelta(message_id=event.message_id, delta=held.delta + event.delta)
                held = None
            self._cut(held)
            self._words = event
            return
        self._cut(held)
        self._words = None
        self._hold(event)

    def end(self) -> None:
        """Nothing follows any more."""
        self._cut(self._words)
        left = self.expected
        if self.divergence is None and left is not None:
            self.divergence = Divergence(sequence=left.sequence, recorded=left, replayed=None)

    def _cut(self, words: MessageDelta | None) -> None:
        """Words in the pieces in which they were stored; what is left over is a piece of its own."""
        left = "" if words is None else words.delta
        while words is not None and left and self.divergence is None:
            piece = left[: self._length_of_next() or len(left)]
            left = left[len(piece) :]
            self._hold(MessageDelta(message_id=words.message_id, delta=piece))

    def _length_of_next(self) -> int:
        expected = self.expected
        if expected is None or expected.type != "message.delta":
            return 0
        return len(text(mapping(parsed(expected.data)).get("delta")))

    def _hold(self, event: AgentEvent) -> None:
        if self.divergence is not None:
            return
        expected = self.expected
        sequence = self._frames[-1].sequence + 1 if expected is None else expected.sequence
        replayed = frame_of(event, self._run_id, sequence)
        if expected is not None and expected.data == replayed.data:
            self.same += 1
        else:
            self.divergence = Divergence(sequence=sequence, recorded=expected, replayed=replayed)
