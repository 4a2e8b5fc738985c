"""A hub served on loopback, and the credentials of its firm's members."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from domain.kernel import PrincipalId
from server.hub import Hub
from server.serve import ServeOptions, serve
from server.tokens import Audience
from tests.support.firms import FIRM_A
from tests.support.parity import Who

SLUG = f"firm-{FIRM_A.n}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A hub that is served on loopback."""

    url: str
    hub: Hub

    def token(self, who: Who, audience: Audience) -> str:
        """A token of a member."""
        return self.hub.tokens.sign(PrincipalId(who.id), SLUG, audience, timedelta(hours=1))

    def token_of(self, who: str, audience: Audience) -> str:
        """A token of one of the seeded firm's people."""
        return self.hub.tokens.sign(PrincipalId(FIRM_A.id(who)), SLUG, audience, timedelta(hours=1))

    def headers(self, who: Who, audience: Audience) -> dict[str, str]:
        """What a request of the member carries."""
        return {"Authorization": f"Bearer {self.token(who, audience)}"}


@asynccontextmanager
async def serving(hub: Hub) -> AsyncGenerator[Site]:
    """An open hub on a port of its own, without the worker."""
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    options = ServeOptions(host="127.0.0.1", port=0, runs_worker=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(hub, options, stop, started=port.set_result))
        try:
            yield Site(url=f"http://127.0.0.1:{await port}", hub=hub)
        finally:
            stop.set()
