"""The frames of a run, read back as what its model and its tools had told."""

from collections.abc import Sequence
from uuid import UUID

from agent.conversations.checkpoints import Checkpoint, checkpoint_of, run_usage_of
from agent.events import Json, RunFrame
from agent.json_values import mapping, parsed, text
from agent.model import TextDelta, Withdrawn
from agent.replay.model import RecordedCall, RecordedTurn, Stretch
from agent.resuming import TAKEN_OVER
from domain.kernel import CallId

_OF_CALLS = ("tool.called", "tool.decided", "tool.progress", "tool.completed", "approval.requested")


def _ends(frame: RunFrame) -> bool:
    """Whether a stretch ends with it."""
    return frame.terminal or frame.type == "run.waiting"


class NotReplayable(Exception):
    """The run cannot be told again; the words say why."""


def stretches_of(frames: Sequence[RunFrame]) -> list[Stretch]:
    """The run's stretches, the first of which begins it.

    Raises  NotReplayable: nothing was recorded of it, or before runs could be told again.
    """
    if not frames or frames[0].type != "run.started":
        raise NotReplayable("its events are not there")
    reading = _Reading()
    for frame in frames:
        reading.take(frame)
    stretches = reading.stretches
    if stretches[-1].begins_after == frames[-1].sequence:
        stretches.pop()
    stretches[-1].last = True
    return stretches


class _Reading:
    def __init__(self) -> None:
        self.stretches = [Stretch(begins_after=0)]
        self._turn: RecordedTurn | None = None
        """That of the words which are being said."""

    @property
    def _stretch(self) -> Stretch:
        return self.stretches[-1]

    def take(self, frame: RunFrame) -> None:
        event = mapping(parsed(frame.data))
        if self._stretch.usage is not None and not _ends(frame):
            # Whoever told that was lost before it could tell how it ended.
            self._stretch.end_told = False
            self._turn = None
            self.stretches.append(Stretch(begins_after=frame.sequence - 1))
        match frame.type:
            case "approval.decided":
                self._stretch.answers.append(event)
            case "run.usage":
                self._stretch.usage = run_usage_of(event)
            case "run.waiting":
                self._turn = None
                self.stretches.append(Stretch(begins_after=frame.sequence))
            case kind if kind.startswith("message."):
                self._of_words(frame, event)
            case kind if kind in _OF_CALLS:
                self._of_call(frame, event)
            case _:
                pass

    def _of_words(self, frame: RunFrame, event: Json) -> None:
        match frame.type:
            case "message.started":
                self._begun().message_ids.append(text(event.get("message_id")))
            case "message.delta":
                self._begun().words += text(event.get("delta"))
            case "message.reset" if event.get("reason") == TAKEN_OVER:
                self._taken_over(frame.sequence)
            case "message.reset":
                self._withdrawn(text(event.get("reason")))
            case _:
                self._heard(frame)

    def _begun(self) -> RecordedTurn:
        """The turn that is being heard; a new one, where the last is whole."""
        if self._turn is None or self._turn.marked is not None:
            self._turn = RecordedTurn()
            self._stretch.turns.append(self._turn)
        return self._turn

    def _withdrawn(self, reason: str) -> None:
        turn = self._begun()
        said = [TextDelta(text=turn.words)] if turn.words else []
        turn.withdrawn += [*said, Withdrawn(reason=reason)]
        turn.words = ""

    def _taken_over(self, sequence: int) -> None:
        """A process was lost in the midst of its words; whoever took the run over went on from what was kept."""
        self._turn = None
        if self._stretch.turns or self._stretch.calls or not self._stretch.begins_after:
            self.stretches.append(Stretch(begins_after=sequence - 1))

    def _heard(self, frame: RunFrame) -> None:
        if frame.checkpoint is None:
            raise NotReplayable("it was recorded by a version that did not keep what its model told")
        self._mark(self._begun(), checkpoint_of(frame.checkpoint))

    def _mark(self, turn: RecordedTurn, mark: Checkpoint) -> None:
        if not turn.message_ids or turn.message_ids[-1] != str(mark.message_id):
            turn.message_ids.append(str(mark.message_id))
        turn.calls, turn.provider_items = mark.calls, mark.provider_items
        turn.told, turn.own_words, turn.out_of_time = mark.told, mark.words, mark.out_of_time
        turn.unpaid, turn.limits, turn.marked = mark.unpaid, mark.limits, mark.spent

    def _of_call(self, frame: RunFrame, event: Json) -> None:
        call_id = CallId(UUID(text(event.get("call_id"))))
        if frame.type == "tool.called" and frame.checkpoint is not None:
            self._mark(self._begun(), checkpoint_of(frame.checkpoint))
        if self._answers(call_id):
            self._stretch.answers.append(event)
            return
        call = self._stretch.calls.setdefault(call_id, RecordedCall())
        if frame.type == "tool.progress":
            call.progress.append(event)
        else:
            call.told[frame.type] = event

    def _answers(self, call_id: CallId) -> bool:
        """Whether the event is about a call of an earlier stretch, whose question was settled since."""
        return call_id not in self._stretch.calls and any(call_id in each.calls for each in self.stretches[:-1])
