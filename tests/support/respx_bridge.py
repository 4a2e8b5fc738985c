"""respx for httpx2: its router, which knows httpx only, answering behind an httpx2 transport."""

import httpx
import httpx2
import respx


def client_for(router: respx.Router) -> httpx2.AsyncClient:
    """A client whose every request `router` answers; none reaches a network."""

    async def bridge(request: httpx2.Request) -> httpx2.Response:
        asked = httpx.Request(request.method, str(request.url), headers=request.headers.raw, content=request.content)
        given = await router.async_handler(asked)
        return httpx2.Response(given.status_code, headers=given.headers.raw, content=given.content)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(bridge))
