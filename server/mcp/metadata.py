"""What an MCP client reads before it has a token: which resource this is, and how a token is sent.

Source  RFC 9728; contract.md, HTTP: no authorization server is named where tokens come from this server's own secret.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PATH = "/.well-known/oauth-protected-resource"


def resource_of(public_url: str) -> str:
    """The identifier of this door, which a token may carry as its audience."""
    return f"{public_url.rstrip('/')}/mcp"


def metadata_url(public_url: str) -> str:
    """Where the metadata of this door stands; a refused request names it."""
    return f"{public_url.rstrip('/')}{PATH}/mcp"


def metadata_routes(public_url: str, issuer: str | None) -> list[Route]:
    """The document at its two places: for this resource, and for a client that looks at the root only.

    `issuer`: who gives tokens; None: nobody but an operator.
    """
    document: dict[str, object] = {
        "resource": resource_of(public_url),
        "resource_name": "Prisma Glow",
        "bearer_methods_supported": ["header"],
    }

    if issuer is not None:
        document["authorization_servers"] = [issuer]

    async def answer(request: Request) -> Response:
        return JSONResponse(document, headers={"Cache-Control": "max-age=3600", "Access-Control-Allow-Origin": "*"})

    return [Route(path, answer, methods=["GET"]) for path in (PATH, f"{PATH}/mcp")]
