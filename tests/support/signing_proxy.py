"""Stands between a server and a client that cannot send a token: adds it, and passes on all the rest as it came."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web

OF_THE_HOP = frozenset({"connection", "content-length", "transfer-encoding"})


@asynccontextmanager
async def signing_proxy(url: str, token: str) -> AsyncGenerator[str]:
    """The address under which the server at `url` is reached with the token."""
    async with ClientSession(auto_decompress=False) as http:

        async def forward(request: web.Request) -> web.Response:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in OF_THE_HOP}
            signed = {**headers, "Authorization": f"Bearer {token}"}
            body = await request.read()
            async with http.request(request.method, url + request.path_qs, data=body, headers=signed) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in OF_THE_HOP}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
