"""`glow mcp`: the tools for an MCP client that starts this program and speaks to it on standard input and output."""

from dataclasses import replace

from server.cli.opening import acting, acting_hub
from server.cli.running import run_until_stopped


def mcp(organization: str, user: str | None) -> None:
    """Serve one client until it closes its end, or a signal says to stop."""
    run_until_stopped(_serve(organization, user), log_level="WARNING")


async def _serve(organization: str, user: str | None) -> None:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        from server.mcp.stdio import serve_stdio

        # A client's model chooses the calls, whoever started it.
        await serve_stdio(hub, replace(principal, mode="agent", door="mcp"))
