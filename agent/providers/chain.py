"""A model and those that answer in its place: each turn goes to the first that can, and the reader is told which."""

from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from agent.model import (
    Answering,
    BrokenOff,
    Model,
    ModelEvent,
    ModelFailed,
    ModelRequest,
    Withdrawn,
    streamed,
)
from agent.providers.breaker import Breaker
from agent.providers.parts import Parts

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A model of a chain; chains that share it share what is known of it."""

    model: Model
    breaker: Breaker


class ModelChain:
    """Satisfies agent.model.Model under the name of its first link; it needs at least one.

    A turn that fails for good goes to the next link, from its beginning: what another model said is withdrawn, never
    continued. What the first refuses as a request (too long, against its rules) no other is asked. When none could
    answer, it fails as the first did.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = tuple(links)
        self._first = links[0].model

    @property
    def name(self) -> str:
        return self._first.name

    @property
    def context_window(self) -> int:
        return self._first.context_window

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """One turn, as `Model.stream` promises it."""
        passed: list[ModelFailed] = []
        shown = ""
        for link in self.links:
            if not link.breaker.admits():
                passed.append(_left_alone(link.breaker))
                continue
            parts = Parts(request)
            with _tried(link.breaker):
                for event in self._introduced(link, passed, shown):
                    yield event
                while parts.failure is None:
                    try:
                        with _noted(link.breaker, parts):
                            async with streamed(link.model, parts.request()) as events:
                                async for event in events:
                                    for told in parts.take(event):
                                        yield told
                        return
                    except ModelFailed as failed:
                        self._check(link, failed)
                        if failed.begun:
                            yield BrokenOff()
            passed.append(parts.failure)
            shown = parts.shown
        raise passed[0]

    def _introduced(self, link: Link, passed: Sequence[ModelFailed], shown: str) -> Iterator[ModelEvent]:
        """What comes before a link's own words: another's are withdrawn, and the reader learns who speaks."""
        if shown:
            yield Withdrawn(reason=passed[-1].code)
        if passed:
            yield Answering(model=link.model.name, instead_of=self.name, why=passed[0].message)

    def _check(self, link: Link, failed: ModelFailed) -> None:
        """Raises  ModelFailed: the first refuses what is asked, as others would."""
        if failed.of_request and link is self.links[0]:
            raise failed
        log.warning("model.turn_failed", model=link.model.name, code=failed.code, exc_info=failed)


@contextmanager
def _tried(breaker: Breaker) -> Generator[None]:
    """A turn that the breaker admitted. A reader may leave it at any event, and says nothing of the model by it."""
    try:
        yield
    finally:
        breaker.left()


@contextmanager
def _noted(breaker: Breaker, parts: Parts) -> Generator[None]:
    """How a part of the turn goes is kept by the breaker."""
    try:
        yield
    except ModelFailed as failed:
        parts.break_off(failed)
        if failed.of_request:
            # It answers.
            breaker.succeeded()
        elif parts.failure is not None:
            breaker.failed(failed)
        raise
    breaker.succeeded()


def _left_alone(breaker: Breaker) -> ModelFailed:
    """What is said of a model that is not asked just now: what it last failed of."""
    why = breaker.why
    if why is None:
        return ModelFailed("model_unavailable", "The model provider is being tried again.", retryable=True)
    return ModelFailed(why.code, why.message, retryable=why.retryable, of_request=False, wait_s=breaker.rest_s)
