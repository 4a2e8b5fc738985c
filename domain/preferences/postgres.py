"""Preferences in SQL, behind the wall between people as well as that between organizations."""

from collections.abc import Sequence
from uuid import UUID

from domain.kernel import CallId, ConversationId
from domain.preferences.model import MOST, Preference, Statement
from domain.storage.postgres import Connection, Row

_COLUMNS = "preference_id, words, conversation_id, created_at, updated_at"

_ALL = f"""
SELECT {_COLUMNS} FROM preferences
WHERE organization_id = glow.organization_id() AND user_id = glow.principal_id()
ORDER BY created_at, preference_id LIMIT {MOST}
"""

_ADD = f"""
INSERT INTO preferences (organization_id, preference_id, user_id, words, conversation_id, call_id, created_at,
                         updated_at)
VALUES (glow.organization_id(), $1, glow.principal_id(), $2, $3, $4, $5, $5)
RETURNING {_COLUMNS}
"""

# The call of the words that were there is read before it is overwritten.
_CHANGE = """
WITH before AS (
    SELECT call_id FROM preferences
    WHERE organization_id = glow.organization_id() AND user_id = glow.principal_id() AND preference_id = $1
    FOR UPDATE
)
UPDATE preferences p SET words = $2, conversation_id = $3, call_id = $4, updated_at = $5
FROM before
WHERE p.organization_id = glow.organization_id() AND p.user_id = glow.principal_id() AND p.preference_id = $1
RETURNING before.call_id
"""

_DELETE = """
DELETE FROM preferences
WHERE organization_id = glow.organization_id() AND user_id = glow.principal_id() AND preference_id = $1
RETURNING call_id
"""


class PostgresPreferences:
    """PreferenceRepository over a connection in the principal's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def all(self) -> Sequence[Preference]:
        return [preference_of(row) for row in await self._connection.fetch(_ALL)]

    async def hold(self) -> None:
        await self._connection.execute("SELECT glow.lock_preferences()")

    async def add(self, preference_id: UUID, statement: Statement) -> Preference:
        said = (statement.words, statement.conversation_id, statement.call_id, statement.now)
        (row,) = await self._connection.fetch(_ADD, preference_id, *said)
        return preference_of(row)

    async def change(self, preference_id: UUID, statement: Statement) -> CallId | None:
        said = (statement.words, statement.conversation_id, statement.call_id, statement.now)
        return _call(await self._connection.fetchval(_CHANGE, preference_id, *said))

    async def delete(self, preference_id: UUID) -> CallId | None:
        return _call(await self._connection.fetchval(_DELETE, preference_id))

    async def erase(self, call_id: CallId) -> None:
        await self._connection.execute("SELECT glow.erase_preference_words($1)", call_id)


def preference_of(row: Row) -> Preference:
    """A stored preference."""
    conversation_id = row["conversation_id"]
    return Preference(
        preference_id=row["preference_id"],
        words=row["words"],
        conversation_id=None if conversation_id is None else ConversationId(conversation_id),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _call(call_id: UUID | None) -> CallId | None:
    return None if call_id is None else CallId(call_id)
