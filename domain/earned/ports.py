"""What earned autonomy needs of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.earned.counting import EventSeen
from domain.earned.model import (
    CountedCall,
    CountingRules,
    Earning,
    Ended,
    NewestCall,
    NewProposal,
    Progress,
    Proposal,
    ProposalId,
    ProposalQuery,
    ProposalState,
    ToolCeiling,
    ToolRecord,
    Undoing,
)
from domain.kernel import CallId, PrincipalId


class EarnedRepository(Protocol):
    """The agent's calls as counted, what they come to, and the proposals, of the transaction's organization."""

    async def progress(self) -> Progress: ...

    async def size(self) -> int:
        """How many events of the organization are sealed."""
        ...

    async def events(self, start: int, end: int) -> Sequence[EventSeen]:
        """What of the events from the first index on, before the second, may count; in the ledger's order."""
        ...

    async def keep(self, ended: Sequence[Ended]) -> None:
        """Those that are kept already stay as they are."""
        ...

    async def undo(self, undoing: Undoing) -> tuple[CallId, str, Earning] | None:
        """The call that is undone, its tool and effect; None: it is none of the agent's, or was undone before."""
        ...

    async def counted(self, tool: str, rules: CountingRules, since: datetime | None) -> Sequence[CountedCall]:
        """The tool's newest calls that count, oldest first; `since`: only those that ended later."""
        ...

    async def save(self, record: ToolRecord) -> None: ...

    async def move(self, progress: Progress) -> None: ...

    async def records(self) -> Sequence[ToolRecord]:
        """By the tool's name."""
        ...

    async def ceiling(self, tool: str) -> ToolCeiling: ...

    async def newest(self, tool: str, since: datetime | None, most: int) -> Sequence[NewestCall]:
        """The agent's calls of the tool that ended last, newest first, sealed or not."""
        ...

    async def open_proposals(self) -> Sequence[Proposal]: ...

    async def decided_at(self, tool: str) -> datetime | None:
        """When a person decided a proposal for the tool last."""
        ...

    async def propose(self, proposal: NewProposal) -> None: ...

    async def settle(
        self, proposal_id: ProposalId, state: ProposalState, by: PrincipalId | None, at: datetime, comment: str | None
    ) -> None:
        """Of an open proposal."""
        ...

    async def proposal(self, proposal_id: ProposalId) -> Proposal | None: ...

    async def proposals(self, query: ProposalQuery) -> Sequence[Proposal]:
        """Newest first; one more than the page holds where there are more."""
        ...
