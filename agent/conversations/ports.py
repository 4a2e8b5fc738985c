"""What conversations and runs need of the database: a principal's own view, the log of frames, the keeper of runs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from agent.conversations.leases import Lease, Pulse, RunKey, TakenRun
from agent.conversations.model import Conversation, Found, History, Said, Step, Summary, Surroundings
from agent.conversations.runs import AskedBefore, AskedTurn, Ending, NewRun, RecordedRun, Run, Unfinished
from agent.conversations.tree import TurnVersion
from agent.events import RunFailed, RunFrame, RunUsage
from domain.activity.ports import Taints
from domain.idempotency.ports import Keys
from domain.kernel import ConversationId, EngagementId, Level, OrganizationId, Principal, RunId
from domain.paging import PageRequest


class RunStore(Protocol):
    """A principal's own runs, within one transaction."""

    @property
    def keys(self) -> Keys:
        """The principal's idempotency keys: what is kept under them stands or falls with what is stored."""
        ...

    @property
    def taints(self) -> Taints:
        """What has entered the principal's turns."""
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
        """The newest turns on the path to that run, of at most `limit` messages, and what other paths did."""
        ...

    async def asked_turn(self, run_id: RunId) -> AskedTurn | None:
        """What one's own run of that id was asked."""
        ...

    async def add_summary(self, conversation_id: ConversationId, summary: Summary) -> None:
        """Keep what stands for the turns up to one; of two for the same turns the first stays."""
        ...

    async def asked_before(self, conversation_id: ConversationId, client_message_id: str) -> AskedBefore | None: ...

    async def keep(
        self,
        run_id: RunId,
        epoch: int,
        steps: Sequence[Step],
        usage: RunUsage,
        now: datetime,
        *,
        given_up: bool = False,
    ) -> bool:
        """Add steps to the run's conversation, and what it has spent; with a step no carrier of before counts as lost.

        False, and nothing kept, unless it is running under the lease of that epoch.
        `given_up`: they only end what was begun, so that those who were lost with the run count on.
        """
        ...

    async def finish(
        self,
        run_id: RunId,
        epoch: int,
        ending: Ending,
        steps: Sequence[Step],
        now: datetime,
        *,
        given_up: bool = False,
    ) -> bool:
        """Add the last steps and end the run, or put it down to wait; False, and nothing changed, unless it runs under
        that epoch's lease. `given_up`: as for `keep`."""
        ...

    async def unfinished(self, run_id: RunId) -> Unfinished | None:
        """The run as its carrier left it; None: it is not running (or there is no such run)."""
        ...

    async def recorded(self, run_id: RunId) -> RecordedRun | None:
        """The run from its beginning, whatever has become of it; None: there is no such run."""
        ...

    async def run(self, run_id: RunId) -> Run | None: ...

    async def entitle(self, conversation_id: ConversationId, run_id: RunId, title: str | None, usage: RunUsage) -> None:
        """A model's title, where it gave one and no person has; and what the ended run has used, with the title's."""
        ...

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

    async def search(self, terms: Sequence[str], page: PageRequest) -> Sequence[Found]:
        """Those whose title or some message has words that begin with all of the terms, last touched first."""
        ...

    async def conversation(self, conversation_id: ConversationId) -> Conversation | None: ...

    async def rename(self, conversation_id: ConversationId, title: str, now: datetime) -> Conversation | None: ...

    async def delete(self, conversation_id: ConversationId) -> bool:
        """False: a run of it is running (or there is no such conversation)."""
        ...

    async def messages(
        self, conversation_id: ConversationId, leaf: RunId, after: UUID | None, limit: int
    ) -> Sequence[Said]:
        """The path to that run, oldest first, behind `after`; one more than `limit` where there are more."""
        ...

    async def versions(self, conversation_id: ConversationId) -> Sequence[TurnVersion]:
        """Every turn with its place in the tree, oldest first."""
        ...

    async def newest_below(self, conversation_id: ConversationId, run_id: RunId) -> RunId | None:
        """The newest run that follows that one, or it; None: the conversation has no such run."""
        ...

    async def activate(self, conversation_id: ConversationId, run_id: RunId) -> Conversation | None:
        """The conversation, which goes on behind that run; None: a run of it is going."""
        ...

    async def summaries(self, conversation_id: ConversationId) -> Sequence[Summary]:
        """What stood or stands for its oldest turns, the newest first."""
        ...


class Sessions(Protocol):
    """Opens a principal's own view of the database; leaving the block normally commits."""

    def session(self, principal: Principal, *, read_only: bool) -> AbstractAsyncContextManager[ConversationStore]:
        """Raises  tools.ports.Unavailable: no database."""
        ...


class RunLog(Protocol):
    """The log of what runs showed. What it has taken is the same for every reader, from then on."""

    async def append(
        self, organization_id: OrganizationId, frames: Sequence[RunFrame], *, epoch: int, urgent: bool
    ) -> None:
        """Returns when the frames are committed; what is not urgent may linger until others go with it.

        `epoch`: of the lease under which their run is carried.
        Raises  RunTaken: another process carries the run; none of them is stored.
                tools.ports.Unavailable: they are not stored, or it cannot be known.
        """
        ...


class RunKeeper(Protocol):
    """Knows which runs have a living process, across organizations.

    Signs of life carry the database's own time, so that the clocks of several machines need not agree.
    """

    async def beat(self, held: Sequence[Lease]) -> Pulse:
        """Say that the runs of these leases are alive."""
        ...

    async def grown(self, seen: Mapping[RunKey, int]) -> Collection[RunId]:
        """Those of the runs that have a frame above the number given with them, or are no longer running."""
        ...

    async def stale(self, stale_after: timedelta) -> Sequence[RunKey]:
        """Runs whose last sign of life is older than that, or whose carrier let go of them, and that nobody is
        about to take over; at most 100."""
        ...

    async def take(self, run: RunKey, stale_after: timedelta) -> TakenRun | None:
        """Take the run over from a carrier that gave no sign of life for so long; of several takers one gets it.

        From then on nothing is stored that its last carrier writes of it.
        """
        ...

    async def wake(self, run: RunKey) -> bool:
        """Have a run that waits be taken up, if there is news for it: an answer, or the word that it is cancelled.

        True: whoever takes it now goes on with it.
        """
        ...

    async def end(self, lease: Lease, error: RunFailed, now: datetime) -> None:
        """End the run of this lease as failed, where there is no more to be told of it."""
        ...

    async def asked_in_vain(self, run: RunKey) -> bool:
        """Whether the run is over, failed or cancelled, and questions of its are still open."""
        ...

    async def release(self, held: Sequence[Lease]) -> None:
        """Let go of the runs of these leases: each may be taken over at once."""
        ...


Heard = Callable[[Collection[RunId] | None], None]
"""Takes the runs that have grown; None: nobody knows which, so it may be any of them."""


class Wakeups(Protocol):
    """Says which runs have grown, wherever they are carried: hints, which may come twice and may be lost."""

    def hear(self, heard: Heard) -> AbstractContextManager[None]:
        """Have `heard` called for each, until the block ends; it must not wait."""
        ...
