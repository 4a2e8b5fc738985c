"""What acting outside needs of the database."""

from collections.abc import Sequence
from typing import Protocol

from domain.intents.model import Intent, OpenCall
from domain.kernel import CallId, RunId, TaskRunId
from domain.paging import PageRequest


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

    async def hold(self, call_id: CallId) -> None:
        """Of several who would say more of a call that has ended, one at a time goes on, to its transaction's end."""
        ...

    async def run_over(self, run_id: RunId | None, task_run_id: TaskRunId | None) -> bool:
        """Whether the run that a call was made for is over, or its owner has asked it to end."""
        ...

    async def close(self, call_id: CallId) -> Intent | None:
        """Take the intent away by a person's word, in a call of `call_conclude`; or what is left of one given up.

        None: it is recorded how the call ended.
        """
        ...

    async def uncount(self, call_id: CallId) -> None:
        """Give back to budgets what a call counted, beside the event that says that it was not made."""
        ...


class OpenCalls(Protocol):
    """The organization's calls of which nobody has said yet how they ended, as far as the principal may read them."""

    async def open(self, page: PageRequest) -> Sequence[OpenCall]:
        """Newest first; one more than the page holds where there are more."""
        ...
