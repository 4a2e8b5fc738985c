"""One message of JSON-RPC as it may come in over any transport, refused in this server's own words."""

from typing import cast

from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.types import INVALID_REQUEST, PARSE_ERROR, jsonrpc_message_adapter
from pydantic import ValidationError

from server.problems import Problem


def check_message(message: object) -> None:
    """One message of JSON-RPC, refused in our own words: the SDK's hold a piece of what was sent.

    The SDK also takes a request whose id is neither text nor integer for a notification, and never answers it.
    """
    try:
        jsonrpc_message_adapter.validate_python(message, by_name=False)
    except ValidationError:
        detail = "The body is one JSON-RPC 2.0 message: an object with `jsonrpc`, `method` and, for a request, `id`."
        raise Problem(400, "invalid_request", detail) from None
    given = cast("dict[str, object]", message)
    if "id" in given and (isinstance(given["id"], bool) or not isinstance(given["id"], str | int)):
        raise Problem(400, "invalid_request", "The id of a request is a text or an integer.")


def calls_a_tool(message: object) -> bool:
    """Whether a checked message is the call of a tool."""
    return cast("dict[str, object]", message).get("method") == "tools/call"


def asks_for_progress(message: object) -> bool:
    """Whether a checked message is the call of a tool whose client wants to be told how far it has come."""
    params = cast("dict[str, object]", message).get("params")
    if not calls_a_tool(message) or not isinstance(params, dict):
        return False
    return progress_token_from_params(cast("dict[str, object]", params)) is not None


def error_of(problem: Problem) -> dict[str, object]:
    """The problem as a JSON-RPC error, which an MCP client looks for; it has no id, since none could be read."""
    code = PARSE_ERROR if problem.code == "malformed_json" else INVALID_REQUEST
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": problem.detail}}
