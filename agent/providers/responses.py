"""The Responses API, as a wire under the streaming core; nothing is left with the provider between two requests."""

import re
from typing import TYPE_CHECKING

from agent.json_values import items
from agent.model import Json, ModelRequest
from agent.providers.faults import ProviderFault
from agent.providers.patience import Surroundings
from agent.providers.responses_turn import ResponsesTurn
from agent.providers.responses_wire import is_reasoning, request_body
from agent.providers.streaming import Endpoint, StreamedModel
from domain.kernel import new_id

if TYPE_CHECKING:
    import httpx2

_REFUSED = frozenset({400, 404, 422})
_NOT_OFFERED = re.compile(r"(?i)encrypted content is not supported|\binclude\b")
"""What a model without reasoning says of being asked for it."""
_UNUSABLE = re.compile(
    r"(?i)invalid_encrypted_content|encrypted.content|items are not persisted|required following item|\breasoning\b"
)
"""What is said of reasoning that can no longer be read: the provider changed its keys, or it is another account's."""


class ResponsesWire:
    """Satisfies agent.providers.streaming.Wire."""

    path = "/responses"

    def __init__(self, model: str) -> None:
        self._model = model
        self._maker = f"responses {model}"
        self._reasons = True

    def body(self, request: ModelRequest) -> Json:
        """The request with the whole conversation; it never names an earlier response."""
        body = request_body(request, model=self._model, maker=self._maker)
        return body if self._reasons else _without_include(body)

    def turn(self) -> ResponsesTurn:
        """What reads one answer."""
        return ResponsesTurn(self._maker, lambda: f"call_{new_id().hex}")

    def reworded(self, body: Json, fault: ProviderFault) -> Json | None:
        """Without reasoning, where the provider refuses it: the conversation goes on by its words."""
        if fault.status not in _REFUSED:
            return None
        if "include" in body and _NOT_OFFERED.search(fault.detail):
            self._reasons = False
            return _without_include(body)
        kept = [item for item in items(body["input"]) if not is_reasoning(item)]
        if len(kept) < len(items(body["input"])) and _UNUSABLE.search(f"{fault.code} {fault.detail}"):
            return body | {"input": kept}
        return None


def _without_include(body: Json) -> Json:
    return {key: value for key, value in body.items() if key != "include"}


def responses_model(
    endpoint: Endpoint, *, surroundings: Surroundings | None = None, http_client: "httpx2.AsyncClient | None" = None
) -> StreamedModel:
    """A model behind the Responses API."""
    return StreamedModel(endpoint, ResponsesWire(endpoint.name), surroundings=surroundings, http_client=http_client)
