"""Lists the calls that act outside and of which nobody has said yet how they ended."""

from dataclasses import dataclass

from domain.intents.model import OpenCall
from domain.intents.ports import OpenCalls
from domain.paging import Page, PageRequest, Position, page_of


@dataclass(frozen=True, slots=True)
class OpenCallService:
    """One's own, and for whoever reads the organization's record all of its."""

    calls: OpenCalls

    async def list(self, page: PageRequest) -> Page[OpenCall]:
        """A page of them, newest first."""
        return page_of(await self.calls.open(page), page, _place)


def _place(call: OpenCall) -> Position:
    return Position(time=call.begun_at, id=call.call_id)
