"""What the operator's file says, as those reckon with it who ask each time: it changes while the server runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent.budget import Budget, CostOf
from agent.model import Model
from domain.analytics.model import Price
from domain.earned.model import CountingRules, EarnedRules
from knowledge.embeddings.local import MODEL as LOCAL_MODEL
from knowledge.model import SearchWeights
from knowledge.reranking.model import RerankRules
from knowledge.sources.folder import FolderRoot
from server.system_config import Price as ModelPrice
from server.system_config import RunLimits, SystemConfig, SystemConfigFile
from tools.spending import PriceOf

FREE = Price(input=0.0, output=0.0, cached_input=None)


def prices_of(config: SystemConfig) -> Mapping[str, Price]:
    """What models cost, as reports reckon with it."""
    return {model: _price(price) for model, price in config.prices.items()}


def _price(price: ModelPrice) -> Price:
    return Price(input=price.input, output=price.output, cached_input=price.cached_input)


def priced(config: SystemConfigFile) -> CostOf:
    """What a call of a model costs when it is asked; None where it has no price, or the provider told no tokens."""

    def cost_of(model: str, read: int, cached: int, written: int) -> float | None:
        price = config.current.prices.get(model)
        return None if price is None or not (read or written) else price.of(read, written, cached)

    return cost_of


def price_now(config: SystemConfigFile) -> PriceOf:
    """What a model's tokens cost when it is asked, nothing where it is asked in this process; None: it has no price."""

    def price_of(model: str) -> Price | None:
        price = config.current.prices.get(model)
        if price is None:
            return FREE if model == LOCAL_MODEL else None
        return _price(price)

    return price_of


def window_of(model: Model, config: SystemConfig) -> int:
    """How many tokens a model holds: what the operator says of it, else what it is taken to."""
    told = config.models.get(model.name)
    return model.context_window if told is None else told.context_tokens


def weights_of(config: SystemConfig) -> SearchWeights:
    """What the orders of a search count, as knowledge fuses them."""
    told = config.search
    return SearchWeights(lexical=told.lexical_weight, vector=told.vector_weight, constant=told.rank_constant)


def rerank_rules_of(config: SystemConfig) -> RerankRules:
    """How far a second stage goes."""
    search = config.search
    return RerankRules(candidates=search.rerank_candidates, timeout_s=search.rerank_timeout_ms / 1000)


def roots_of(config: SystemConfig) -> Sequence[FolderRoot]:
    """The folders below which sources may read."""
    return [
        FolderRoot(
            path=Path(root.path), organizations=None if root.organizations is None else frozenset(root.organizations)
        )
        for root in config.sources.folders
    ]


def earned_rules_of(config: SystemConfig) -> EarnedRules:
    """By which rules autonomy is earned and taken back."""
    told = config.autonomy
    return EarnedRules(
        counting=CountingRules(z=told.z, window_calls=told.window_calls, reversal_days=told.reversal_days),
        minimum_calls=told.minimum_calls,
        bound_to_raise={"prepare": told.bound_to_raise_prepare, "commit": told.bound_to_raise_commit},
        incident_calls=told.incident_calls,
        incidents_to_lower=told.incidents_to_lower,
    )


def bounded(budget: Budget, most: RunLimits) -> Budget:
    """A persona's budget, and no more than the operator allows."""
    return replace(
        budget,
        turns=min(budget.turns, most.turns or budget.turns),
        calls=min(budget.calls, most.calls or budget.calls),
        tokens=min(budget.tokens, most.tokens or budget.tokens),
        seconds=min(budget.seconds, most.seconds or budget.seconds),
    )
