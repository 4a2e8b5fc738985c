"""A run as it is begun, as it ended, as its row says it, and as a carrier that is gone left it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from agent.conversations.checkpoints import Checkpoint
from agent.conversations.model import Conversation, History, RunStatus, Step, Surroundings
from agent.events import Json, RunFailed, RunFrame, RunUsage
from domain.kernel import ApprovalId, CallId, ConversationId, Door, RunId, TaskRunId, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTurn:
    """What was asked at one place of a conversation, as it may be asked again or anew."""

    run_id: RunId
    conversation_id: ConversationId
    agent: str
    """Who began to answer it."""
    message: str
    parent_run_id: RunId | None
    origin_run_id: RunId
    """The run that the message came with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBefore:
    """The run that a message with the same `client_message_id` began."""

    run_id: RunId
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run ready to be stored, together with the message that begins it."""

    run_id: RunId
    conversation_id: ConversationId
    agent: str
    model: str
    door: Door
    message_id: UUID
    message: str
    client_message_id: str | None
    now: datetime
    parent_run_id: RunId | None = None
    """The run that it follows."""
    origin_run_id: RunId | None = None
    """The run whose message it answers again."""
    branches: bool = False
    """It follows another run than the one that the conversation ended with."""
    request_id: str | None = None
    trace_id: str | None = None
    trust: Trust = "internal"
    """Of the message."""
    task_run_id: TaskRunId | None = None
    """The run of the task that it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """A run that is stored and about to be carried: everything its agent knows of what came before."""

    run: NewRun
    conversation: Conversation
    surroundings: Surroundings
    history: History
    epoch: int = 1
    """The generation of the lease under which it is carried; every carrier has one of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, or was put down, as its row says it."""

    status: Literal["completed", "failed", "cancelled", "waiting"]
    error: RunFailed | None = None
    usage: RunUsage | None = None
    awaited: tuple[ApprovalId, ...] = ()
    """What a run that is put down waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as its row and its stored frames say it."""

    run_id: RunId
    conversation_id: ConversationId
    agent: str
    model: str
    status: RunStatus
    error: RunFailed | None
    usage: RunUsage | None
    created_at: datetime
    finished_at: datetime | None
    last_sequence: int
    """Of the frames stored so far; 0: none yet."""
    ended_in_log: bool
    """The last stored frame is the terminal one, or says that the run waits, as its row does; False for a moment after
    the row has said so, or after a crash then."""
    awaited: tuple[ApprovalId, ...] = ()
    """What a run that waits waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A run as its carrier left it: what it began with, the steps that are kept, and what was told since."""

    run: NewRun
    conversation: Conversation
    cancel_requested: bool
    steps: tuple[Step, ...]
    later: Mapping[CallId, Json]
    """What has become of calls of those steps that were open."""
    checkpoint: Checkpoint | None
    """The last one."""
    frames: tuple[RunFrame, ...]
    """From the last checkpoint's on, deltas aside; without one, all."""
    last_sequence: int
    """Of all frames; 0: none."""
    awaited: tuple[ApprovalId, ...] = ()
    """What it waited for when it was put down, unless it has come further since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run as it is stored: what it began with, how it ended, and every frame with its checkpoint."""

    run: NewRun
    conversation: Conversation
    status: RunStatus
    error: RunFailed | None
    frames: tuple[RunFrame, ...]
