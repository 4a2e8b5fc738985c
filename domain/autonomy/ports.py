"""What autonomy needs of the database."""

from collections.abc import Sequence
from typing import Protocol

from domain.autonomy.model import AutonomyRange, MemberRange, NewSetting, Setting, SettingId, SettingQuery
from domain.kernel import Level


class AutonomyRepository(Protocol):
    """What bounds the agent for the transaction's principal, and the organization's settings."""

    async def range(self, tool: str | None) -> AutonomyRange: ...

    async def lock(self) -> None:
        """Let nobody else change a setting of the organization until this transaction ends."""
        ...

    async def organization(self) -> tuple[Level | None, bool]:
        """The organization's level, None for the default, and its switch, as set last."""
        ...

    async def member(self, email: str) -> MemberRange | None: ...

    async def add(self, setting: NewSetting) -> None: ...

    async def bind(self, member: MemberRange) -> None:
        """Put a member's range in force."""
        ...

    async def setting(self, setting_id: SettingId) -> Setting: ...

    async def history(self, query: SettingQuery) -> Sequence[Setting]:
        """Newest first; one more than the page holds where there are more; nothing for a CLIENT."""
        ...
