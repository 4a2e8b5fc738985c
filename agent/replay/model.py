"""What is read of a run to tell it again, and what came of that."""

from dataclasses import dataclass, field

from agent.budget import Budget
from agent.conversations.checkpoints import SpentSoFar
from agent.conversations.model import RunStatus
from agent.events import Json, RunFrame, RunUsage
from agent.hearing import Told
from agent.model import ModelEvent, ProviderItem, ToolCall
from domain.kernel import CallId, RunId


@dataclass(slots=True, kw_only=True)
class RecordedTurn:
    """One turn of the model: what it told, and the ids that its messages and calls were given."""

    message_ids: list[str] = field(default_factory=list[str])
    withdrawn: list[ModelEvent] = field(default_factory=list[ModelEvent])
    """What was said and taken back before the words that stood."""
    words: str = ""
    """As they were shown, whoever's they are."""
    own_words: str | None = None
    """The model's share of them, where that is not all."""
    calls: tuple[tuple[CallId, ToolCall], ...] = ()
    provider_items: tuple[ProviderItem, ...] = ()
    told: Told | None = None
    out_of_time: bool = False
    unpaid: str = ""
    limits: Budget | None = None
    """What the run could spend then; None: it was not kept, or the turn came to no end."""
    marked: SpentSoFar | None = None
    """What the run had spent when the turn was whole; None: it came to no end."""

    @property
    def asked(self) -> bool:
        """Whether the model was asked; not when its time was over before that, or its tokens."""
        return self.marked is None or self.told is not None


@dataclass(slots=True, kw_only=True)
class RecordedCall:
    """What was told of one call of the run."""

    told: dict[str, Json] = field(default_factory=dict[str, Json])
    """Its events by type; the last of each."""
    progress: list[Json] = field(default_factory=list[Json])


@dataclass(slots=True, kw_only=True)
class Stretch:
    """A run from its beginning, or from when it was gone on with, to when it was put down, lost or ended."""

    begins_after: int
    """The number of the last frame before it."""
    answers: list[Json] = field(default_factory=list[Json])
    """What had become of the questions that the run had waited for."""
    turns: list[RecordedTurn] = field(default_factory=list[RecordedTurn])
    calls: dict[CallId, RecordedCall] = field(default_factory=dict[CallId, RecordedCall])
    usage: RunUsage | None = None
    """What the run had spent at its end; None: whoever told it was lost."""
    end_told: bool = True
    """False: whoever told what had been spent was lost before its next word."""
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first event that came out otherwise; None stands for no event at all."""

    sequence: int
    recorded: RunFrame | None
    replayed: RunFrame | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A run told again: how many events came out byte for byte as recorded, and the first that did not."""

    run_id: RunId
    status: RunStatus
    same: int
    divergence: Divergence | None
    todays_limits: bool = False
    """Its own were not kept when it was recorded: it was told within those of its persona and the operator today."""
