"""The state of release controls, as the database computes it."""

from typing import TypedDict, cast

import orjson

from domain.kernel import EngagementId
from domain.releases.model import ControlName, ControlState, ReleaseState
from domain.storage.postgres import Connection

_STATE = "SELECT glow.release_state($1, $2)::text"


class _StateJson(TypedDict):
    state: ControlState
    missing: list[str]


class PostgresReleases:
    """ReleaseRepository over a connection in the principal's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def state(self, control: ControlName, engagement_id: EngagementId) -> ReleaseState:
        text = cast(str, await self._connection.fetchval(_STATE, control, engagement_id))
        found = cast(_StateJson, orjson.loads(text))
        return ReleaseState(
            control=control, engagement_id=engagement_id, state=found["state"], missing=tuple(found["missing"])
        )
