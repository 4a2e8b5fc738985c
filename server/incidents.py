"""Whether a tool's newest calls went wrong too often, asked of the record as it stands."""

from dataclasses import dataclass

from domain.kernel import OrganizationId, Principal
from server.database.identities import PostgresIdentities
from server.database.unit_of_work import PostgresTransactions
from server.worker.principals import service_account_of


@dataclass(frozen=True, slots=True)
class PostgresIncidents:
    """Satisfies tools.incidents.Incidents."""

    transactions: PostgresTransactions
    identities: PostgresIdentities

    async def reviewer(self, organization_id: OrganizationId, tool: str) -> Principal | None:
        """The firm's service account, where there is something to take back.

        Raises  Unavailable: no database.
        """
        hub = await service_account_of(self.identities, organization_id)
        if hub is None:
            return None
        async with self.transactions.session(organization_id, hub.principal_id) as session:
            return None if await session.work.earned.incident(tool) is None else hub
