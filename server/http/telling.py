"""Which answers tell words that no call has kept a taint of: that an agent is told some is noted before they leave."""

from fastapi.routing import APIRoute
from starlette.requests import Request

WITHOUT = frozenset(
    {
        # Who one is, and what there is to be called.
        "/v1/me",
        "/v1/autonomy/status",
        "/v1/tools",
        "/v1/tools/{name}",
        "/v1/agents",
        # The result of a call, which has its taint.
        "/v1/activity/head",
        "/v1/activity/{call_id}",
        "/v1/activity/{call_id}/proof",
        "/v1/analytics/{report}",
        "/v1/knowledge/documents/{document_id}/content",
        "/v1/release-controls/{name}",
    }
)
"""The gets that tell none."""
WITH = frozenset({"/v1/runs/{run_id}/cancel", "/v1/conversations/{conversation_id}/branch"})
"""What else tells some. The answer to one's own message is noted for what its conversation was told."""


def tells_words(request: Request) -> bool:
    """Whether the route tells words by no call; one that nobody has thought of does, if it is a get."""
    route: APIRoute = request.scope["route"]
    return route.path_format not in WITHOUT if request.method == "GET" else route.path_format in WITH
