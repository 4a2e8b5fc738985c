"""Random histories: what reviews have stored bit by bit is what an export of the same events comes to at once."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID, uuid4

import orjson
import pytest

from domain.activity.model import ActivityEvent, Payload
from domain.activity.postgres import insert_events
from domain.earned.model import CountingRules, EarnedRules
from domain.earned.recounting import NotAnExport, Recount
from domain.kernel import ApprovalId, EventId, PrincipalId
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.calls import NOW, event, followed, ticket
from tests.support.earned import HUB, Firm, found_firms
from tests.support.firms import FIRM_A
from tests.support.gates import gate_on
from tests.support.ledger import seal

EMPLOYEE, PARTNER = PrincipalId(FIRM_A.id("employee")), PrincipalId(FIRM_A.id("partner"))
MAKES = {
    "task_create": ("task", "task_id"),
    "document_upload": ("document", "document_id"),
    "document_from_url": ("document", "document_id"),
    "document_restore": ("document", "document_id"),
}
UNDONE_BY = {
    "task_create": ("task_update", "task_id"),
    "document_upload": ("document_delete", "document_id"),
    "document_from_url": ("document_delete", "document_id"),
    "document_restore": ("document_delete", "document_id"),
    "document_delete": ("document_restore", "document_id"),
}


@dataclass(slots=True)
class History:
    """A firm's days as a die throws them; each act is one transaction's events."""

    dice: random.Random
    made: list[tuple[str, UUID]] = field(default_factory=list[tuple[str, UUID]])
    at: timedelta = timedelta()

    def act(self) -> Sequence[ActivityEvent]:
        self.at += timedelta(hours=self.dice.choice((1, 5, 100)))
        return self.dice.choice((self._unasked, self._asked, self._asked, self._rejected, self._undo, self._read))()

    def _read(self) -> Sequence[ActivityEvent]:
        return [event(occurred_at=NOW + self.at)]

    def _opened(self, tool: str, **changes: object) -> ActivityEvent:
        return ticket(FIRM_A, "employee", (), tool=tool, occurred_at=NOW + self.at, **changes)

    def _ended(self, first: ActivityEvent, tool: str) -> ActivityEvent:
        """Done, with what it made, or failed."""
        if self.dice.random() < 0.2:
            return followed(first, kind="tool.failed", outcome="failed")
        made, path = self._thing(tool), MAKES.get(tool)
        if path is None and tool != "document_delete":
            return followed(first, kind="tool.completed", outcome="done")
        self.made.append((tool, made))
        shown = {"document_id": str(made)} if path is None else {path[0]: {path[1]: str(made)}}
        result = orjson.dumps(shown).decode()
        return followed(first, kind="tool.completed", outcome="done", payload=Payload(salt=b"s", result=result))

    def _thing(self, tool: str) -> UUID:
        """A new one; of what is deleted and restored mostly the same few, again and again."""
        documents = [thing for made_by, thing in self.made if made_by != "task_create"]
        is_old = tool in ("document_delete", "document_restore") and documents and self.dice.random() < 0.9
        return self.dice.choice(documents[-3:]) if is_old else uuid4()

    def _tool(self) -> str:
        return self.dice.choice((*MAKES, "document_delete", "task_update", "letter_send"))

    def _unasked(self) -> Sequence[ActivityEvent]:
        tool = self._tool()
        first = self._opened(tool)
        return [first, self._ended(first, tool)]

    def _decision(self) -> ActivityEvent:
        by = self.dice.choice((EMPLOYEE, PARTNER))
        return self._opened("approval_decide", effect="commit", mode="person", principal_id=by)

    def _asked(self) -> Sequence[ActivityEvent]:
        tool, decision = self._tool(), self._decision()
        allowed = self._opened(tool, opens=False, approval_id=ApprovalId(uuid4()))
        return [decision, allowed, self._ended(allowed, tool), followed(decision, kind="tool.completed")]

    def _rejected(self) -> Sequence[ActivityEvent]:
        decision = self._decision()
        asked = self._opened(self._tool(), approval_id=ApprovalId(uuid4()))
        rejected = replace(asked, event_id=EventId(uuid4()), opens=False, kind="tool.rejected")
        return [decision, rejected, followed(decision, kind="tool.completed")]

    def _undo(self) -> Sequence[ActivityEvent]:
        """By hand, or by the agent; of what was made, or of something else."""
        tool, thing = self.dice.choice([*self.made, ("task_create", uuid4())])
        by, named = UNDONE_BY[tool]
        arguments = {named: str(thing), "status": self.dice.choice(("cancelled", "cancelled", "done"))}
        mode = self.dice.choice(("person", "person", "agent"))
        payload = Payload(salt=b"s", arguments=orjson.dumps(arguments).decode())
        first = self._opened(by, mode=mode, payload=payload)
        return [first, followed(first, kind="tool.completed", outcome="done")]


async def written(recorder: Connection, events: Sequence[ActivityEvent]) -> None:
    async with recorder.transaction():
        for each in events:
            await insert_events(recorder, [each])


@pytest.mark.parametrize("seed", range(6))
async def test_reviews_store_what_the_ledger_alone_comes_to(
    pools: DatabasePools, owner_connection: Connection, recorder_connection: Connection, seed: int
) -> None:
    await found_firms(owner_connection)
    dice = random.Random(seed)
    history, rules = History(dice), EarnedRules(counting=CountingRules(window_calls=dice.choice((5, 200))))
    async with gate_on(pools, earned=lambda: rules) as gate:
        firm = Firm(gate=gate, pools=pools)
        for _ in range(5):
            for _ in range(dice.randrange(30)):
                await written(recorder_connection, history.act())
            await seal(pools.service, batch=dice.choice((1, 3, 1000)))
            await written(recorder_connection, history.act())
            await firm.done("autonomy_review", {}, HUB)
            # Of the same rules and, once, of others: what was counted by the former is counted anew.
            rules = replace(rules, counting=replace(rules.counting, reversal_days=dice.choice((1, 30))))
        await firm.reviewed()
        records, progress = await firm.records()
        assert progress.rules == rules.counting
        assert list(records.values()) == list((await firm.recount()).records(rules.counting, progress.through))
        assert sum(record.tally.calls for record in records.values()) > 10


def test_what_is_no_export_with_payloads_is_refused() -> None:
    header = (
        b'{"exported_at":"2026-11-29T00:00:00.000000Z","organization_id":"x","payloads":false,"size":0,'
        b'"type":"ledger","version":1}'
    )
    for line in (b"", b"{", b'{"type":"event"}', header):
        with pytest.raises(NotAnExport, match="line 1 "):
            Recount().take(line)
