"""The models that an installation speaks by: its default, those that personas want, and who answers in their place."""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from agent.model import Model
from agent.offline import OfflineModel
from agent.providers.breaker import Breaker
from agent.providers.chain import Link, ModelChain
from agent.providers.chat_completions import chat_completions_model
from agent.providers.patience import Patience
from agent.providers.responses import responses_model
from agent.providers.streaming import Connections, Endpoint
from server.fallbacks import HostedApi
from server.settings import OPENAI, HostedModel, ModelServer

CONTEXT_WINDOW = 128_000
"""Tokens that a hosted model is taken to hold where config/system.yaml says nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What is to be had: `default` for whoever wants none, and each by its name."""

    default: Model
    by_name: Mapping[str, Model]
    links: Sequence[Link] = ()
    """Every model that may be asked, each with what this process has found of it; the default's chain first."""


def only(model: Model) -> Models:
    """One model and no other."""
    return Models(default=model, by_name={model.name: model})


def open_models(hosted: HostedModel | None, wanted: Collection[str], stack: AsyncExitStack) -> Models:
    """The hosted model and, at the same server over the same connections, each that is wanted; else the offline one.

    Each with those that answer in its place: a wanted one's are the default and what answers in the default's.
    Whether the servers have them is asked by `glow doctor`, and answered by their first turn: not every server tells.
    """
    if hosted is None:
        return only(OfflineModel())
    opened = _Opened(stack, hosted.base_url)
    chain = [opened.link(each) for each in (hosted, *hosted.fallbacks)]
    if hosted.falls_back:
        chain.append(Link(model=OfflineModel(), breaker=Breaker(time.monotonic)))
    default = ModelChain(chain)
    others = {
        name: ModelChain([opened.link(replace(hosted, name=name)), *chain]) for name in wanted if name != default.name
    }
    links = (*chain, *(other.links[0] for other in others.values()))
    return Models(default=default, by_name={default.name: default, **others}, links=links)


class _Opened:
    """The models that were opened so far; those of one server and API share its connections."""

    def __init__(self, stack: AsyncExitStack, own: str | None) -> None:
        self._stack = stack
        self._own = own
        self._connections: dict[tuple[str | None, HostedApi], Connections] = {}

    def link(self, server: ModelServer) -> Link:
        """A model, of which nothing is known yet."""
        make = responses_model if server.api == "responses" else chat_completions_model
        place = (server.base_url, server.api)
        elsewhere = "" if server.base_url == self._own else server.base_url or OPENAI
        model = make(_endpoint(server, elsewhere), connections=self._connections.get(place))
        if place not in self._connections:
            self._connections[place] = model.connections
            self._stack.push_async_callback(model.close)
        return Link(model=model, breaker=Breaker(time.monotonic))


def _endpoint(server: ModelServer, elsewhere: str) -> Endpoint:
    return Endpoint(
        name=server.name,
        context_window=CONTEXT_WINDOW,
        api_key=None if server.api_key is None else server.api_key.get_secret_value(),
        base_url=server.base_url,
        patience=Patience.of(server.timeout_s, server.stall_s),
        elsewhere=elsewhere,
    )
