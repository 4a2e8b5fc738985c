"""What releases need of the database."""

from typing import Protocol

from domain.kernel import EngagementId
from domain.releases.model import ControlName, ReleaseState


class ReleaseRepository(Protocol):
    """The state of release controls."""

    async def state(self, control: ControlName, engagement_id: EngagementId) -> ReleaseState: ...
