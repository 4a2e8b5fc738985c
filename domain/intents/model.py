"""An intent: a call that was allowed to act outside, and of which nobody has said yet how it ended."""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    EngagementId,
    Level,
    Principal,
    RunId,
    TaskRunId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The exact call, so that any process can ask the outside what became of it and say so in its name."""

    call_id: CallId
    principal: Principal
    tool: str
    arguments: str
    """Canonical JSON."""
    manifest_digest: bytes | None
    """Of the tool as it was when the call was allowed; None: written before that was kept."""
    approval_id: ApprovalId | None
    conversation_id: ConversationId | None
    run_id: RunId | None
    task_run_id: TaskRunId | None
    engagement_id: EngagementId | None
    agent_ceiling: Level
    begun_at: datetime
