"""What releases need of the database."""

from collections.abc import Sequence
from typing import Protocol

from domain.kernel import EngagementId
from domain.releases.model import (
    ControlName,
    NewRelease,
    NewSignOff,
    Release,
    ReleaseControl,
    ReleaseId,
    ReleaseState,
    SignOff,
    SignOffId,
)


class ReleaseRepository(Protocol):
    """Controls, sign-offs and releases of the transaction's organization."""

    async def lock(self, engagement_id: EngagementId) -> None:
        """Let no sign-off and no release of the engagement pass until this transaction ends."""
        ...

    async def control(self, name: ControlName) -> ReleaseControl: ...

    async def kinds(self) -> frozenset[str]:
        """The kinds of sign-off that any control needs."""
        ...

    async def state(self, control: ControlName, engagement_id: EngagementId) -> ReleaseState: ...

    async def add_sign_off(self, sign_off: NewSignOff) -> None: ...

    async def sign_off(self, sign_off_id: SignOffId) -> SignOff: ...

    async def document_version(self, subject: str) -> str | None:
        """The version of the document of that id; None: it is no document's."""
        ...

    async def add_release(self, release: NewRelease) -> None: ...

    async def release(self, release_id: ReleaseId) -> Release: ...

    async def releases(self, control: ControlName, engagement_id: EngagementId) -> Sequence[Release]:
        """The newest of them, newest first."""
        ...
