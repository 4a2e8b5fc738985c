"""Reads the sealed record, counts what became of the agent's calls, takes autonomy back, and proposes to raise it.

It never raises anything by itself: a PARTNER decides a proposal, which rests on evidence that anybody can count again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, cast

import orjson

from domain.autonomy.model import SetAutonomy, SettingId
from domain.autonomy.service import AutonomyService
from domain.earned.counting import found_in, incident_in, tally_of
from domain.earned.model import (
    UPKEEP,
    EarnedRules,
    Earning,
    Ended,
    Evidence,
    Incident,
    NewProposal,
    Progress,
    Proposal,
    ProposalAnswer,
    ProposalId,
    ProposalQuery,
    Raise,
    Reviewed,
    ToolRecord,
    acts_from,
    asks_at,
)
from domain.earned.ports import EarnedRepository
from domain.kernel import CallId, DomainError, Level, NewId, NotFound, PrincipalId
from domain.paging import Page, Position, page_of

LEAVES_AT_ONCE = 5000
MOST_PAGES = 20
"""Of one review; what lies beyond is left to the next."""


class ProposalNotFound(NotFound):
    """No such proposal in this organization."""

    code: ClassVar[str] = "proposal_not_found"

    def __init__(self) -> None:
        super().__init__("proposal_id: there is no such proposal")


class ProposalDecided(DomainError):
    """Somebody was faster, or the record bears it no longer."""

    code: ClassVar[str] = "already_decided"

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(f"proposal_id: this proposal is {proposal.state} already")


class ProposalOutdated(DomainError):
    """What it rested on has changed since: accepting it would raise more than the record bears."""

    code: ClassVar[str] = "proposal_outdated"

    def __init__(self) -> None:
        super().__init__("proposal_id: the record or the settings have changed, and bear this proposal no longer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Who reviews, and when."""

    by: PrincipalId
    now: datetime
    new_id: NewId


@dataclass(slots=True)
class _Read:
    """What one reading of the ledger found."""

    through: int
    more: bool
    touched: dict[str, Earning]
    reversed: list[tuple[CallId, CallId]]


@dataclass(frozen=True, slots=True)
class EarnedService:
    """Who may review and decide is policy's to say, before this is called."""

    earned: EarnedRepository
    autonomy: AutonomyService
    rules: EarnedRules

    async def records(self) -> tuple[tuple[ToolRecord, ...], Progress]:
        """What the record comes to for each tool, and through which event; nothing for a CLIENT."""
        return tuple(await self.earned.records()), await self.earned.progress()

    async def proposals(self, query: ProposalQuery) -> Page[Proposal]:
        """Newest first; nothing for a CLIENT."""
        return page_of(await self.earned.proposals(query), query.page, _place)

    async def proposal(self, proposal_id: ProposalId) -> Proposal:
        """Raises  ProposalNotFound."""
        found = await self.earned.proposal(proposal_id)
        if found is None:
            raise ProposalNotFound
        return found

    async def incident(self, tool: str) -> tuple[Incident, Level] | None:
        """What is wrong with the tool's newest calls, and the level to go back to; None: nothing, or it is so already.

        It looks at the record as it stands, sealed or not: what has just gone wrong counts for the next call.
        """
        ceiling = await self.earned.ceiling(tool)
        newest = await self.earned.newest(tool, ceiling.set_at, self.rules.incident_calls)
        if not newest or tool in UPKEEP or ceiling.most <= asks_at(tool, newest[0].effect):
            return None
        incident = incident_in(tool, newest, self.rules)
        return None if incident is None else (incident, asks_at(tool, newest[0].effect))

    async def review(self, review: Review, tool: str | None = None) -> Reviewed:
        """Read on in the ledger, count, take back what has gone wrong, and propose or withdraw what the record bears.

        `tool`: one whose newest calls are looked at though nothing of them is sealed yet.
        Effect  writes autonomy_calls, autonomy_records, autonomy_progress, autonomy_proposals, autonomy_settings.
        """
        # Settings and reviews of an organization come one after another: none rests on what another has just changed.
        await self.autonomy.lock()
        read = await self._read(review.now)
        records = await self.earned.records()
        suspected = {record.tool for record in records} | ({tool} if tool else set[str]())
        lowered = [each for name in sorted(suspected) if (each := await self._lower(name, review)) is not None]
        withdrawn, proposed = await self._renew({record.tool: record.effect for record in records}, read, review)
        return Reviewed(
            through=read.through,
            more=read.more,
            reversed=tuple(read.reversed),
            lowered=tuple(lowered),
            proposed=tuple(proposed),
            withdrawn=tuple(withdrawn),
        )

    async def decide(
        self, proposal_id: ProposalId, answer: ProposalAnswer, comment: str | None, review: Review
    ) -> Proposal:
        """Accept a proposal, which raises the tool's ceiling from the next call on, or reject it.

        Effect  writes autonomy_proposals, autonomy_settings.
        Raises  ProposalNotFound, ProposalDecided, ProposalOutdated.
        """
        await self.autonomy.lock()
        proposal = await self.proposal(proposal_id)
        if proposal.state != "open":
            raise ProposalDecided(proposal)
        if answer == "accept":
            await self._require_borne(proposal)
            why = f"Proposal {proposal_id}, earned from the record: {_words(proposal)}."
            await self._set(proposal.tool, proposal.to_level, f"{why} {comment or ''}".strip(), review)
        state = "accepted" if answer == "accept" else "rejected"
        await self.earned.settle(proposal_id, state, review.by, review.now, comment)
        return await self.proposal(proposal_id)

    async def _read(self, now: datetime) -> _Read:
        """Take in what is sealed, and count the tools that it says something of."""
        before = await self.earned.progress()
        size = await self.earned.size()
        read = _Read(through=before.through, more=False, touched={}, reversed=[])
        for _ in range(MOST_PAGES):
            if read.through >= size:
                break
            end = min(read.through + LEAVES_AT_ONCE, size)
            await self._take(read, end)
            read.through = end
        read.more = read.through < size
        if before.rules != self.rules.counting:
            for record in await self.earned.records():
                read.touched.setdefault(record.tool, record.effect)
        for name, effect in read.touched.items():
            tally = tally_of(await self.earned.counted(name, self.rules.counting, None), self.rules.counting)
            await self.earned.save(ToolRecord(tool=name, effect=effect, tally=tally))
        await self.earned.move(Progress(through=read.through, rules=self.rules.counting, reviewed_at=now))
        return read

    async def _take(self, read: _Read, end: int) -> None:
        found = [each for event in await self.earned.events(read.through, end) if (each := found_in(event)) is not None]
        ended = [each for each in found if isinstance(each, Ended)]
        await self.earned.keep(ended)
        read.touched |= {each.tool: each.effect for each in ended}
        for each in found:
            undone = None if isinstance(each, Ended) else await self.earned.undo(each)
            if undone is not None:
                call_id, name, effect = undone
                read.reversed.append((call_id, each.call_id))
                read.touched.setdefault(name, effect)

    async def _lower(self, tool: str, review: Review) -> tuple[str, Level] | None:
        found = await self.incident(tool)
        if found is None:
            return None
        incident, level = found
        calls = ", ".join(str(call_id) for call_id in incident.calls)
        went = f"{len(incident.calls)} of the agent's newest {incident.of} calls were rejected, failed or undone"
        await self._set(tool, level, f"Lowered from the record: {went}: {calls}.", review)
        return tool, level

    async def _renew(
        self, tools: Mapping[str, Earning], read: _Read, review: Review
    ) -> tuple[list[ProposalId], list[ProposalId]]:
        """Withdraw what is borne no longer, propose what is; give both."""
        open_for = {proposal.tool: proposal for proposal in await self.earned.open_proposals()}
        withdrawn: list[ProposalId] = []
        proposed: list[ProposalId] = []
        for tool, effect in tools.items():
            borne, before = await self._raise(tool, effect), open_for.get(tool)
            if before is not None and not _same(before, borne):
                await self.earned.settle(before.proposal_id, "withdrawn", None, review.now, None)
                withdrawn.append(before.proposal_id)
            if borne is not None and not _same(before, borne):
                proposed.append(await self._propose(tool, borne, read, review))
        return withdrawn, proposed

    async def _propose(self, tool: str, borne: Raise, read: _Read, review: Review) -> ProposalId:
        proposal = NewProposal(
            proposal_id=ProposalId(review.new_id()),
            tool=tool,
            from_level=borne.from_level,
            to_level=borne.to_level,
            evidence=orjson.dumps(evidence_members(borne.evidence), option=orjson.OPT_SORT_KEYS).decode(),
            through=read.through,
            proposed_by=review.by,
            proposed_at=review.now,
        )
        await self.earned.propose(proposal)
        return proposal.proposal_id

    async def _raise(self, tool: str, effect: Earning) -> Raise | None:
        """What the record bears now: only where the tool's own ceiling is what makes the agent ask."""
        ceiling, target = await self.earned.ceiling(tool), acts_from(effect)
        level, disabled = await self.autonomy.organization()
        if ceiling.level is None or not Level.L1 <= ceiling.level < target or level < target or disabled:
            return None
        since = max(filter(None, (ceiling.set_at, await self.earned.decided_at(tool))), default=None)
        calls = await self.earned.counted(tool, self.rules.counting, since)
        tally, needed = tally_of(calls, self.rules.counting), self.rules.bound_to_raise[effect]
        newest = await self.earned.newest(tool, since, self.rules.incident_calls)
        enough = tally.calls >= self.rules.minimum_calls and tally.bound >= needed
        if not enough or incident_in(tool, newest, self.rules) is not None:
            return None
        evidence = Evidence(tally=tally, needed=needed, since=since, rules=self.rules.counting, calls=tuple(calls))
        return Raise(from_level=ceiling.level, to_level=target, evidence=evidence)

    async def _require_borne(self, proposal: Proposal) -> None:
        """Raises  ProposalOutdated."""
        for record in await self.earned.records():
            if record.tool == proposal.tool and _same(proposal, await self._raise(record.tool, record.effect)):
                return
        raise ProposalOutdated

    async def _set(self, tool: str, level: Level, reason: str, review: Review) -> None:
        asked = SetAutonomy(scope="tool", tool=tool, given=frozenset({"level"}), level=level, reason=reason[:2000])
        await self.autonomy.set(asked, setting_id=SettingId(review.new_id()), changed_by=review.by, now=review.now)


def evidence_members(evidence: Evidence) -> dict[str, object]:
    """As a proposal keeps and shows it."""
    tally = evidence.tally
    return {
        "approved": tally.approved,
        "rejected": tally.rejected,
        "failed": tally.failed,
        "reversed": tally.reversed,
        "bound": tally.bound,
        "needed": evidence.needed,
        "since": None if evidence.since is None else evidence.since.isoformat(),
        "rules": evidence.rules.members(),
        "calls": [
            {"call_id": str(call.call_id), "mark": call.mark, "ended_at": call.ended_at.isoformat()}
            for call in evidence.calls
        ],
    }


def _same(proposal: Proposal | None, borne: Raise | None) -> bool:
    """Whether the proposal is what the record bears; its numbers may have grown since."""
    if proposal is None or borne is None:
        return False
    return (proposal.from_level, proposal.to_level) == (borne.from_level, borne.to_level)


def _words(proposal: Proposal) -> str:
    evidence: dict[str, object] = orjson.loads(proposal.evidence)
    counts = [cast(int, evidence[name]) for name in ("approved", "rejected", "failed", "reversed")]
    return f"{counts[0]} of {sum(counts)} calls stood, lower bound {evidence['bound']:.3f}"


def _place(proposal: Proposal) -> Position:
    return Position(time=proposal.proposed_at, id=proposal.proposal_id)
