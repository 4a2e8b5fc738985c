"""The Chat Completions API: any server that speaks it, as a wire under the streaming core."""

from typing import TYPE_CHECKING, Literal

from agent.model import Json, ModelRequest
from agent.providers.chat_turn import ChatTurn
from agent.providers.chat_wire import request_body
from agent.providers.faults import ProviderFault
from agent.providers.patience import Surroundings
from agent.providers.streaming import Endpoint, StreamedModel
from domain.kernel import new_id

if TYPE_CHECKING:
    import httpx2

LimitField = Literal["max_completion_tokens", "max_tokens"]


class ChatCompletionsWire:
    """Satisfies agent.providers.streaming.Wire."""

    path = "/chat/completions"

    def __init__(self, model: str, limit_field: LimitField) -> None:
        self._model = model
        self._limit_field = limit_field

    def body(self, request: ModelRequest) -> Json:
        """The request, streamed and with its usage told."""
        asked: Json = {"model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        return asked | request_body(request, limit_field=self._limit_field)

    def turn(self) -> ChatTurn:
        """What reads one answer."""
        return ChatTurn(lambda: f"call_{new_id().hex}")

    def reworded(self, body: Json, fault: ProviderFault) -> None:
        """Nothing of a request can be left out."""
        del body, fault


def chat_completions_model(
    endpoint: Endpoint,
    *,
    limit_field: LimitField | None = None,
    surroundings: Surroundings | None = None,
    http_client: "httpx2.AsyncClient | None" = None,
) -> StreamedModel:
    """A model behind the Chat Completions API.

    `limit_field`: OpenAI itself takes only max_completion_tokens, many compatible servers only max_tokens.
    """
    limit = limit_field or ("max_tokens" if endpoint.base_url else "max_completion_tokens")
    wire = ChatCompletionsWire(endpoint.name, limit)
    return StreamedModel(endpoint, wire, surroundings=surroundings, http_client=http_client)
