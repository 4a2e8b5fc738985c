"""The demo firm's past: lived by the gate, so that it verifies, replays without a difference, and bears a proposal."""

from functools import partial
from pathlib import Path

from domain.earned.model import ProposalQuery
from domain.earned.recounting import Recount
from domain.kernel import CallId, OrganizationId, Principal, PrincipalId, utc_now
from domain.resources import resource_folder
from server.database.connection import Connection
from server.demo.firm import load_firm
from server.demo.history import DEMO_HISTORY, live_history
from server.exports import exported
from server.worker.principals import service_account_of
from tests.support.database import Database
from tests.support.doors import opened_hub
from tests.support.ledger import seal
from tests.support.verifiers import Found, checked
from tools.outcomes import CallRequest, Json

FOLDER = resource_folder("demo")
ACME = load_firm(FOLDER).organizations[0]
ORGANIZATION, MANAGER = OrganizationId(ACME.id("organization")), PrincipalId(ACME.id("user", "manager@acme.example"))
RECORDED = """
SELECT count(*) AS events, count(DISTINCT call_id) AS calls,
       max(occurred_at) - min(occurred_at) > interval '340 days' AS year,
       max(occurred_at) < now() AS past
FROM activity_events WHERE request_id = $1
"""


async def test_the_year_before_was_lived_by_the_gate_once_and_bears_a_proposal(
    database: Database, owner_connection: Connection, superuser_connection: Connection, tmp_path: Path
) -> None:
    said: list[str] = []
    async with opened_hub(database) as hub:

        async def asked(tool: str, arguments: Json, who: Principal) -> Json:
            outcome = await hub.gate.call(
                CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments), who
            )
            assert outcome.result is not None, outcome
            return outcome.result

        await live_history(hub, owner_connection, FOLDER, utc_now(), said.append)
        lived = await superuser_connection.fetchrow(RECORDED, DEMO_HISTORY)
        assert lived is not None
        assert (lived["calls"], lived["year"], lived["past"]) == (1 + 60 * 4 + 1, True, True)
        await live_history(hub, owner_connection, FOLDER, utc_now(), said.append)
        assert await superuser_connection.fetchrow(RECORDED, DEMO_HISTORY) == lived
        assert len(said) == 1

        manager = Principal(
            organization_id=ORGANIZATION, principal_id=MANAGER, kind="person", mode="person", door="cli"
        )
        replayed = await asked("policy_replay", {}, manager)
        assert (replayed["differences"], replayed["same"]) == ([], replayed["verdicts"])
        assert (replayed["not_decided"] or {}) == {
            "before_policy": 0,
            "without_verdict": 0,
            "unreadable": 0,
            "lacking": [],
        }

        await seal(hub.pools.service)
        service = await service_account_of(hub.identities, ORGANIZATION)
        assert service is not None
        reviewed = await asked("autonomy_review", {}, service)
        session = partial(hub.transactions.session, ORGANIZATION, MANAGER)
        async with session() as opened:
            (proposal,) = (await opened.work.earned.proposals(ProposalQuery())).items
            records, progress = await opened.work.earned.records()
        assert [str(proposal.proposal_id)] == reviewed["proposed"]
        assert (proposal.tool, proposal.from_level.name, proposal.to_level.name) == ("task_update", "L1", "L2")

        file, recount = tmp_path / "export.ndjson", Recount()
        export = await asked("audit_export", {"payloads": True}, manager)
        file.write_bytes(b"".join([some async for some in exported(session, ORGANIZATION, export, utc_now())]))
        assert checked(file) == Found(None)
        for line in file.read_bytes().splitlines():
            recount.take(line)
        assert progress.rules is not None
        assert list(records) == list(recount.records(progress.rules, progress.through))
        (update,) = [record for record in records if record.tool == "task_update"]
        assert (update.tally.approved, update.tally.rejected) == (59, 1)
