"""As whom background work is done: always an agent's, and at this door."""

from domain.kernel import OrganizationId, Principal
from server.database.identities import Member, PostgresIdentities


def acting_as(member: Member, *, scheduled: bool = False) -> Principal:
    """The member, where nobody is there to see what is done on their behalf; `scheduled`: nor asked for it just now."""
    return Principal(
        organization_id=member.organization_id,
        principal_id=member.principal_id,
        kind=member.kind,
        mode="agent",
        door="worker",
        scheduled=scheduled,
    )


async def service_account_of(
    identities: PostgresIdentities, organization_id: OrganizationId, *, scheduled: bool = False
) -> Principal | None:
    """The organization's service account at work; None: it has none."""
    member = await identities.service_member(organization_id)
    return None if member is None else acting_as(member, scheduled=scheduled)
