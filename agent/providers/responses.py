"""The Responses API, as a wire under the streaming core; nothing is left with the provider between two requests."""

import re
from typing import TYPE_CHECKING

from agent.json_values import items
from agent.model import Json, ModelRequest
from agent.providers.chat_wire import cache_key
from agent.providers.faults import ProviderFault
from agent.providers.patience import Surroundings
from agent.providers.responses_turn import ResponsesTurn
from agent.providers.responses_wire import is_reasoning, request_body
from agent.providers.streaming import Connections, Endpoint, StreamedModel
from domain.kernel import new_id

if TYPE_CHECKING:
    import httpx2

_REFUSED = frozenset({400, 404, 422})
_NOT_OFFERED = re.compile(
    r"(?i)encrypted content is not supported|[\"'`]include\b|\b(?:parameter|argument|field)(?: supplied)?:? include\b"
)
"""What a model without reasoning, or a server that does not know it, says of being asked for it."""
_UNUSABLE = re.compile(
    r"(?i)invalid_encrypted_content|encrypted.content|items are not persisted|required following item|\breasoning\b"
)
"""What is said of reasoning that can no longer be read: the provider changed its keys, or it is another account's."""


class ResponsesWire:
    """Satisfies agent.providers.streaming.Wire."""

    path = "/responses"

    def __init__(self, model: str, elsewhere: str = "", *, keyed: bool = False) -> None:
        """`keyed`: the server takes a key by which it finds what it remembers of a request's beginning."""
        self._model = model
        self._keyed = keyed
        self._maker = f"responses {model} {elsewhere}".rstrip()
        self._reasons = True

    def body(self, request: ModelRequest) -> Json:
        """The request with the whole conversation; it never names an earlier response."""
        body = request_body(request, model=self._model, maker=self._maker) | cache_key(request, keyed=self._keyed)
        return body if self._reasons else _without_include(body)

    def turn(self) -> ResponsesTurn:
        """What reads one answer."""
        return ResponsesTurn(self._maker, lambda: f"call_{new_id().hex}")

    def reworded(self, body: Json, fault: ProviderFault) -> Json | None:
        """Without reasoning, where the provider refuses it: the conversation goes on by its words."""
        if fault.status not in _REFUSED:
            return None
        if "include" in body and _NOT_OFFERED.search(fault.detail):
            return _without_include(body)
        kept = [item for item in items(body["input"]) if not is_reasoning(item)]
        if len(kept) < len(items(body["input"])) and _UNUSABLE.search(f"{fault.code} {fault.detail}"):
            return body | {"input": kept}
        return None

    def answered(self, body: Json) -> None:
        """A model that answers without being asked for its reasoning is not asked for it again."""
        self._reasons = self._reasons and "include" in body


def _without_include(body: Json) -> Json:
    return {key: value for key, value in body.items() if key != "include"}


def responses_model(
    endpoint: Endpoint,
    *,
    surroundings: Surroundings | None = None,
    http_client: "httpx2.AsyncClient | None" = None,
    connections: Connections | None = None,
) -> StreamedModel:
    """A model behind the Responses API; `connections`: those of another one there."""
    wire = ResponsesWire(endpoint.name, endpoint.elsewhere, keyed=endpoint.is_openai)
    return StreamedModel(endpoint, wire, surroundings=surroundings, http_client=http_client, connections=connections)
