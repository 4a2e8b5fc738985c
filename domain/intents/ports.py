"""What acting outside needs of the database."""

from typing import Protocol

from domain.intents.model import Intent
from domain.kernel import CallId


class Intents(Protocol):
    """The organization's intents within one transaction."""

    async def add(self, intent: Intent) -> None:
        """Beside the call's ticket: both stand, or neither."""
        ...

    async def find(self, call_id: CallId) -> Intent | None:
        """None: there is none that this principal may see, or not any more."""
        ...

    async def end(self, call_id: CallId) -> bool:
        """Take the intent away, beside the event that says how the call ended; False: somebody else said so."""
        ...
