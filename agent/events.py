"""The one typed union of what a run tells its reader; every sink is a translator of it and decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from domain.kernel import ApprovalId, CallId, ConversationId, Decision, Outcome, RunId

Json = dict[str, object]


CitationFault = Literal["other_words", "no_document", "no_range", "unchecked"]
"""Why a citation is not good: the words are not those of the document, or it is not there (any more), or does not reach
that far, or nobody could hold the one to the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a statement of the answer stands: document, page or section, and code points from `start` to `end`."""

    marker: int
    """The number n that stands in the text as [n]."""
    document_id: str
    chunk_id: str | None
    """The passage in which it begins; None: no passage of the document is known to hold it."""
    title: str
    uri: str
    start: int
    end: int
    quote: str
    page: int | None = None
    section: str | None = None
    fault: CitationFault | None = None
    """None: the range exists, and what is quoted of it stands there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    conversation_id: ConversationId
    agent: str
    model: str
    type: Literal["run.started"] = "run.started"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStarted:
    message_id: str
    type: Literal["message.started"] = "message.started"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDelta:
    message_id: str
    delta: str
    type: Literal["message.delta"] = "message.delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReset:
    """What was shown of the message is withdrawn."""

    message_id: str
    reason: str
    type: Literal["message.reset"] = "message.reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCompleted:
    message_id: str
    text: str
    citations: tuple[Citation, ...] = ()
    checkpoint: str | None = field(default=None, repr=False, compare=False)
    """What another process needs to go on from here; stored beside the frame, and no part of it."""
    type: Literal["message.completed"] = "message.completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    call_id: CallId
    tool: str
    arguments: Json
    checkpoint: str | None = field(default=None, repr=False, compare=False)
    """As a completed message's."""
    type: Literal["tool.called"] = "tool.called"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDecided:
    call_id: CallId
    decision: Decision
    reasons: tuple[str, ...]
    type: Literal["tool.decided"] = "tool.decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolProgress:
    call_id: CallId
    progress: float
    message: str
    type: Literal["tool.progress"] = "tool.progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCompleted:
    call_id: CallId
    outcome: Outcome
    result: Json | None = None
    error: Json | None = None
    type: Literal["tool.completed"] = "tool.completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested:
    approval_id: ApprovalId
    call_id: CallId
    tool: str
    arguments: Json
    needs_role: str
    four_eyes: bool
    expires_at: datetime
    type: Literal["approval.requested"] = "approval.requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDecided:
    approval_id: ApprovalId
    decision: Literal["approve", "reject"]
    by: str
    type: Literal["approval.decided"] = "approval.decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """One model's part of a run's usage."""

    input_tokens: int
    output_tokens: int
    model_calls: int
    cached_tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallUsage:
    """What one call of a model used."""

    model: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float | None
    """At the price of the moment; None: it has none, or the provider did not tell all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUsage:
    """Tokens of the whole run so far, as the provider counted them; 0 where it did not say."""

    input_tokens: int
    output_tokens: int
    model_calls: int
    tool_calls: int
    by_model: Mapping[str, ModelUsage] | None = None
    """Each model's part, by name; None where the one that was asked spoke alone."""
    cached_tokens: int | None = None
    """Of those that were read: remembered by the provider, and cheaper."""
    cost_usd: float | None = None
    """At the prices of the moment of each call; None: a part of it is unknown, or has no price."""
    untold_calls: int | None = None
    """Calls of a model that broke off, and whose tokens nobody told: they are not among the others."""
    failed_citations: int | None = None
    """Citations of its answers that the documents do not bear out."""
    type: Literal["run.usage"] = "run.usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWaiting:
    approvals: tuple[ApprovalId, ...]
    type: Literal["run.waiting"] = "run.waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCompleted:
    type: Literal["run.completed"] = "run.completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled:
    type: Literal["run.cancelled"] = "run.cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    code: str
    message: str
    retryable: bool
    type: Literal["run.failed"] = "run.failed"


RunEnded = RunCompleted | RunCancelled | RunFailed
AgentEvent = (
    RunStarted
    | MessageStarted
    | MessageDelta
    | MessageReset
    | MessageCompleted
    | ToolCalled
    | ToolDecided
    | ToolProgress
    | ToolCompleted
    | ApprovalRequested
    | ApprovalDecided
    | RunUsage
    | RunWaiting
    | RunEnded
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFrame:
    """One event with its place in the run, as it is stored and shown: `data` is the exact JSON text, byte for byte."""

    run_id: RunId
    sequence: int
    type: str
    data: str = field(repr=False)
    checkpoint: str | None = field(default=None, repr=False, compare=False)
    """What it takes to go on from here; shown to nobody."""

    @property
    def terminal(self) -> bool:
        """True for the event after which nothing follows."""
        return self.type in ("run.completed", "run.cancelled", "run.failed")
