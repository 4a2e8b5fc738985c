"""A call that was left open outside, without a process that died for it."""

from uuid import UUID

from server.database.connection import AnyConnection

LEFT = """
INSERT INTO call_intents (organization_id, call_id, principal_id, principal_kind, mode, door, scheduled, tool,
    arguments, agent_ceiling, begun_at)
SELECT organization_id, call_id, principal_id, principal_kind, mode, door, false, tool, '{}', 3,
       now() - interval '10 minutes'
FROM activity_events WHERE call_id = $1 AND opens
"""
NEWEST = "SELECT call_id FROM activity_events WHERE tool = 'task_create' AND opens ORDER BY occurred_at DESC LIMIT 1"


async def left_open(connection: AnyConnection) -> UUID:
    """The newest call, as one is kept that is under way outside, or was when its process was lost."""
    call_id = await connection.fetchval(NEWEST)
    await connection.execute(LEFT, call_id)
    return call_id
