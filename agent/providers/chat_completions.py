"""The Chat Completions API: any server that speaks it, as a wire under the streaming core."""

from typing import TYPE_CHECKING, Literal

from agent.model import Json, ModelRequest
from agent.providers.chat_turn import ChatTurn
from agent.providers.chat_wire import cache_key, request_body
from agent.providers.faults import ProviderFault
from agent.providers.patience import Surroundings
from agent.providers.streaming import Connections, Endpoint, StreamedModel
from domain.kernel import new_id

if TYPE_CHECKING:
    import httpx2

LimitField = Literal["max_completion_tokens", "max_tokens"]


class ChatCompletionsWire:
    """Satisfies agent.providers.streaming.Wire."""

    path = "/chat/completions"

    def __init__(self, model: str, limit_field: LimitField, *, keyed: bool = False) -> None:
        """`keyed`: the server takes a key by which it finds what it remembers of a request's beginning."""
        self._model = model
        self._limit_field = limit_field
        self._keyed = keyed

    def body(self, request: ModelRequest) -> Json:
        """The request, streamed and with its usage told."""
        asked: Json = {"model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        return asked | request_body(request, limit_field=self._limit_field) | cache_key(request, keyed=self._keyed)

    def turn(self) -> ChatTurn:
        """What reads one answer."""
        return ChatTurn(lambda: f"call_{new_id().hex}")

    def reworded(self, body: Json, fault: ProviderFault) -> None:
        """Nothing of a request can be left out."""
        del body, fault

    def answered(self, body: Json) -> None:
        """Nothing is learnt of it."""
        del body


def chat_completions_model(
    endpoint: Endpoint,
    *,
    limit_field: LimitField | None = None,
    surroundings: Surroundings | None = None,
    http_client: "httpx2.AsyncClient | None" = None,
    connections: Connections | None = None,
) -> StreamedModel:
    """A model behind the Chat Completions API; `connections`: those of another one there.

    `limit_field`: OpenAI itself takes only max_completion_tokens, many compatible servers only max_tokens.
    """
    limit = limit_field or ("max_tokens" if endpoint.base_url else "max_completion_tokens")
    wire = ChatCompletionsWire(endpoint.name, limit, keyed=endpoint.is_openai)
    return StreamedModel(endpoint, wire, surroundings=surroundings, http_client=http_client, connections=connections)
