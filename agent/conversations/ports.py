"""What conversations and runs need of the database: a principal's own view, the log of frames, the keeper of runs."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from agent.conversations.model import (
    AskedBefore,
    Conversation,
    Ending,
    History,
    NewRun,
    Orphan,
    Pulse,
    Run,
    RunKey,
    Said,
    Step,
    Surroundings,
)
from agent.events import RunFailed, RunFrame
from domain.idempotency.ports import Keys
from domain.kernel import ConversationId, EngagementId, Level, OrganizationId, Principal, RunId
from domain.paging import PageRequest


class RunStore(Protocol):
    """A principal's own runs, within one transaction."""

    @property
    def keys(self) -> Keys:
        """The principal's idempotency keys: what is kept under them stands or falls with what is stored."""
        ...

    async def surroundings(self) -> Surroundings | None:
        """None: no membership in the organization."""
        ...

    async def may_see_engagement(self, engagement_id: EngagementId) -> bool: ...

    async def open_conversation(self, conversation: Conversation) -> None:
        """Raises  ConversationTaken: its id exists."""
        ...

    async def touch_conversation(self, conversation_id: ConversationId, now: datetime) -> Conversation | None: ...

    async def assign(self, conversation_id: ConversationId, agent: str, ceiling: Level) -> None:
        """Have the conversation go on with that persona, under that ceiling."""
        ...

    async def add_run(self, run: NewRun) -> None:
        """The run and the message that begins it.

        Raises  ConversationBusy: another run of the conversation is running.
                ConversationTaken: the message's client_message_id was used in this conversation before.
        """
        ...

    async def history(self, conversation_id: ConversationId, before: RunId, limit: int) -> History:
        """The newest turns before that run, of at most `limit` messages."""
        ...

    async def asked_before(self, conversation_id: ConversationId, client_message_id: str) -> AskedBefore | None: ...

    async def keep(self, run_id: RunId, steps: Sequence[Step], now: datetime) -> bool:
        """Add steps to the run's conversation; False, and nothing added, when the run is no longer running."""
        ...

    async def finish(self, run_id: RunId, ending: Ending, steps: Sequence[Step], now: datetime) -> bool:
        """Add the last steps and end the run; False, and nothing changed, when it is no longer running."""
        ...

    async def run(self, run_id: RunId) -> Run | None: ...

    async def frames(self, run_id: RunId, after: int, limit: int) -> Sequence[RunFrame]:
        """Committed frames with a sequence above `after`, in order."""
        ...

    async def request_cancel(self, run_id: RunId) -> None:
        """Tell the process that carries the run to end it; it looks at each heartbeat."""
        ...


class ConversationStore(RunStore, Protocol):
    """A principal's own conversations, within one transaction."""

    async def conversations(self, page: PageRequest) -> Sequence[Conversation]:
        """Last touched first; one more than the page holds where there are more."""
        ...

    async def conversation(self, conversation_id: ConversationId) -> Conversation | None: ...

    async def rename(self, conversation_id: ConversationId, title: str, now: datetime) -> Conversation | None: ...

    async def delete(self, conversation_id: ConversationId) -> bool:
        """False: a run of it is running (or there is no such conversation)."""
        ...

    async def messages(self, conversation_id: ConversationId, after: UUID | None, limit: int) -> Sequence[Said]:
        """Oldest first, behind the message `after`; one more than `limit` where there are more."""
        ...


class Sessions(Protocol):
    """Opens a principal's own view of the database; leaving the block normally commits."""

    def session(self, principal: Principal, *, read_only: bool) -> AbstractAsyncContextManager[ConversationStore]:
        """Raises  tools.ports.Unavailable: no database."""
        ...


class RunLog(Protocol):
    """The log of what runs showed. What it has taken is the same for every reader, from then on."""

    async def append(self, organization_id: OrganizationId, frames: Sequence[RunFrame], *, urgent: bool) -> None:
        """Returns when the frames are committed; what is not urgent may linger until others go with it.

        Raises  tools.ports.Unavailable: they are not stored, or it cannot be known.
        """
        ...


class RunKeeper(Protocol):
    """Knows which runs have a living process, across organizations.

    Signs of life carry the database's own time, so that the clocks of several machines need not agree.
    """

    async def beat(self, runs: Sequence[RunKey]) -> Pulse:
        """Say that these runs are alive."""
        ...

    async def end_orphans(self, stale_after: timedelta, error: RunFailed, now: datetime) -> Sequence[Orphan]:
        """End each run whose last sign of life is older than that; of several processes one gets each."""
        ...
