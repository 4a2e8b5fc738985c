"""The composition root: everything the doors share, built once in the order it depends on and taken down in reverse."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import structlog

from agent.budget import Budget
from agent.conversations.postgres import PostgresRunKeeper
from agent.conversations.service import ConversationService
from agent.model import Model
from agent.offline import OfflineModel
from agent.orchestrator import Orchestrator
from agent.personas import Personas, load_personas
from agent.providers.chat_completions import chat_completions_model
from agent.providers.patience import Patience
from agent.providers.responses import responses_model
from agent.providers.streaming import Endpoint
from agent.runs import RunOptions, Runs
from domain.analytics.model import Price
from domain.idempotency.postgres import PostgresKeyExpiry
from domain.kernel import ApprovalId, Clock, NewId, new_id, utc_now
from domain.resources import resource_folder
from knowledge.embeddings.compatible import CompatibleEmbedder
from knowledge.embeddings.ports import Embedder
from knowledge.embeddings.queries import QueryVectors
from knowledge.isolate import IsolatedPreparer
from knowledge.model import StoredFile
from knowledge.prepare import PreparedDocument
from server.auth import Authenticator
from server.bearers import Bearers, IssuerTokens
from server.database.conversations import PostgresSessions
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools, open_pools
from server.database.queue import PostgresJobs
from server.database.recorder import GroupRecorder
from server.database.unit_of_work import PostgresTransactions
from server.jwks import Jwks, fetch_from
from server.logins import DatabaseUrls
from server.offers import PolicyOffers
from server.origins import origin_of
from server.settings import Settings
from server.slack_app import SlackApp, identified
from server.system_config import RunLimits, SystemConfig, SystemConfigFile
from server.tokens import Tokens, audiences
from server.worker.documents import DocumentWorker
from server.worker.task_runs import TaskRunWorker
from server.worker.worker import Worker
from tools.gate import Fault, Gate, no_fault
from tools.handlers import (
    HANDLERS,
    Introduction,
    agent_handlers,
    document_handlers,
    search_by_meaning,
    workspace_handlers,
)
from tools.policy import Policies
from tools.registry import Registry
from tools.staging import Staging
from tools.workflows import Workflows

log = structlog.get_logger()

CONTEXT_WINDOW = 128_000
"""Tokens that a hosted model is taken to hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the manifests say: tools, policies, workflows and personas that fit together."""

    registry: Registry
    policies: Policies
    workflows: Workflows
    personas: Personas
    staging: Staging


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """What every door is given. Doors hold no state of their own."""

    settings: Settings
    config: SystemConfigFile
    """What may change while this runs; ask for `current` each time."""
    public_url: str
    """Where people reach this server, without a slash at the end."""
    rules: Rules
    pools: DatabasePools
    transactions: PostgresTransactions
    recorder: GroupRecorder
    jobs: PostgresJobs
    gate: Gate
    offers: PolicyOffers
    identities: PostgresIdentities
    tokens: Tokens
    authenticator: Authenticator
    model: Model
    orchestrator: Orchestrator
    runs: Runs
    conversations: ConversationService
    worker: Worker
    clock: Clock
    new_id: NewId

    @property
    def staging(self) -> Staging:
        """Where a door holds uploaded bytes for the length of one call."""
        return self.rules.staging

    @property
    def own_origin(self) -> str:
        """The origin of the hub's own pages."""
        return origin_of(self.public_url)

    def approval_url(self, approval_id: ApprovalId) -> str:
        """A plain link to the page where a person decides; it proves nothing about who opens it."""
        return f"{self.public_url}/#approval={approval_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """What a test or a benchmark replaces; the server itself runs on the defaults."""

    fault: Fault = no_fault
    model: Model | None = None
    embedder: Embedder | None = None
    run_options: RunOptions | None = None
    clock: Clock = utc_now


def load_rules(preparer: IsolatedPreparer, embedder: Embedder | None = None, slack: SlackApp | None = None) -> Rules:
    """Read and check everything under manifests/.

    `preparer` reads the files that document_index is asked for, `embedder` gives vectors; None: search is by words.
    `slack`: the app whose workspaces can be connected; None: none can.

    Raises  RegistryError, PolicyFilesError, WorkflowFilesError, PersonaInvalid: the server does not start.
    """
    folder = resource_folder("manifests")
    staging = Staging()

    async def prepare_file(stored: StoredFile) -> PreparedDocument:
        return await preparer.prepare(stored.content, title=stored.title, media_type=stored.media_type)

    personas = load_personas(folder)
    handlers = dict(HANDLERS)
    if embedder is not None:
        handlers["knowledge_search"] = search_by_meaning(QueryVectors(embedder))
    if slack is not None:
        handlers.update(workspace_handlers(partial(identified, slack), personas.names))
    registry = Registry.load(
        folder,
        handlers,
        document_handlers(staging, prepare_file, embedder),
        agent_handlers(introductions(personas)),
    )
    manifests = {tool.manifest.name: tool.manifest for tool in registry.all()}
    personas.check_tools(manifests)
    return Rules(
        registry=registry,
        policies=Policies.load(folder / "policies"),
        workflows=Workflows.load(folder / "workflows", manifests),
        personas=personas,
        staging=staging,
    )


def introductions(personas: Personas) -> Mapping[str, Introduction]:
    """The personas, as the tools know them."""
    return {each.name: Introduction(title=each.title, description=each.description) for each in personas.all()}


@asynccontextmanager
async def open_hub(
    settings: Settings, urls: DatabaseUrls, public_url: str, options: HubOptions | None = None
) -> AsyncGenerator[Hub]:
    """The hub for the length of the block; its worker does not run yet, whoever wants it runs `hub.worker`.

    Raises  DatabaseUnavailable, DatabaseMisconfigured, SettingsInvalid, SystemConfigInvalid, and what `load_rules`
            raises.
    """
    options = options or HubOptions()
    async with AsyncExitStack() as stack:
        config = SystemConfigFile.open(settings.system_config_path)
        await stack.enter_async_context(_watched(config))
        embedder = options.embedder or _embedder(settings, stack)
        rules = load_rules(await stack.enter_async_context(IsolatedPreparer()), embedder, settings.slack)
        pools = await stack.enter_async_context(open_pools(urls))
        transactions = PostgresTransactions(pools.app, rules.workflows, lambda: prices_of(config.current))
        recorder = GroupRecorder(pools.recorder, time.monotonic)
        await stack.enter_async_context(recorder.running())
        jobs = PostgresJobs(pools.service)
        gate = _gate(rules, transactions, recorder, jobs, options)
        offers = PolicyOffers(registry=rules.registry, policies=rules.policies, transactions=transactions)
        model = options.model or await _model(settings, stack)
        identities = PostgresIdentities(pools.app)
        tokens = _tokens(settings, public_url, options.clock)
        sessions = PostgresSessions(transactions)
        orchestrator = Orchestrator(
            model=model,
            models={model.name: model},
            gate=gate,
            offers=offers,
            personas=rules.personas,
            clock=options.clock,
            new_id=new_id,
            approval_url=lambda approval_id: f"{public_url}/#approval={approval_id}",
            bounded=lambda budget: bounded(budget, config.current.runs),
        )
        _say_of_models(orchestrator)
        runs = Runs(
            orchestrator=orchestrator,
            sessions=sessions,
            run_log=recorder,
            keeper=PostgresRunKeeper(pools.service.acquire),
            clock=options.clock,
            new_id=new_id,
            options=options.run_options or RunOptions(most_of_a_principal=lambda: config.current.limits.runs),
        )
        await stack.enter_async_context(runs)
        yield Hub(
            settings=settings,
            config=config,
            public_url=public_url,
            rules=rules,
            pools=pools,
            transactions=transactions,
            recorder=recorder,
            jobs=jobs,
            gate=gate,
            offers=offers,
            identities=identities,
            tokens=tokens,
            authenticator=Authenticator(_bearers(settings, tokens, stack), identities, options.clock),
            model=model,
            orchestrator=orchestrator,
            runs=runs,
            conversations=ConversationService(sessions, options.clock),
            worker=_worker(urls, pools, jobs, gate, transactions, identities, rules, embedder, options.clock),
            clock=options.clock,
            new_id=new_id,
        )


def prices_of(config: SystemConfig) -> Mapping[str, Price]:
    """What models cost, as reports reckon with it."""
    return {model: Price(input=price.input, output=price.output) for model, price in config.prices.items()}


@asynccontextmanager
async def _watched(config: SystemConfigFile) -> AsyncGenerator[None]:
    """The file is looked at for the length of the block."""
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(config.watch(), name="system_config.watch")
        try:
            yield
        finally:
            watching.cancel()


def bounded(budget: Budget, most: RunLimits) -> Budget:
    """A persona's budget, and no more than the operator allows."""
    return replace(
        budget,
        turns=min(budget.turns, most.turns or budget.turns),
        calls=min(budget.calls, most.calls or budget.calls),
        tokens=min(budget.tokens, most.tokens or budget.tokens),
        seconds=min(budget.seconds, most.seconds or budget.seconds),
    )


def _gate(
    rules: Rules, transactions: PostgresTransactions, recorder: GroupRecorder, jobs: PostgresJobs, options: HubOptions
) -> Gate:
    return Gate(
        registry=rules.registry,
        policies=rules.policies,
        workflows=rules.workflows,
        transactions=transactions,
        recorder=recorder,
        queue=jobs,
        clock=options.clock,
        monotonic=time.monotonic,
        new_id=new_id,
        fault=options.fault,
    )


def _say_of_models(orchestrator: Orchestrator) -> None:
    """A persona whose model is not to be had speaks by the default one, and the log has it."""
    for persona in orchestrator.personas():
        model = orchestrator.model_of(persona).name
        if persona.model not in (None, model):
            log.warning("agent.model_not_offered", agent=persona.name, wanted=persona.model, model=model)


def _tokens(settings: Settings, public_url: str, clock: Clock) -> Tokens:
    settings.check_tokens()
    return Tokens(
        secret=settings.token_secret(),
        issuer=settings.own_issuer,
        audiences=audiences(settings.jwt_audience, public_url),
        organization_claim=settings.jwt_organization_claim,
        clock=clock,
    )


def _bearers(settings: Settings, tokens: Tokens, stack: AsyncExitStack) -> Bearers:
    if settings.jwks_url is None:
        return Bearers(own=tokens, issued=None)
    jwks = Jwks(fetch_from(settings.jwks_url))
    stack.push_async_callback(jwks.close)
    # A widget's token is the hub's own to give: short, and bound to a page.
    named = {name: counts for name, counts in tokens.audiences.items() if counts != "widget"}
    rules = replace(tokens.rules, audiences=named)
    return Bearers(own=tokens, issued=IssuerTokens(jwks=jwks, issuer=settings.jwt_issuer, rules=rules))


async def _model(settings: Settings, stack: AsyncExitStack) -> Model:
    hosted = settings.hosted_model
    if hosted is None:
        return OfflineModel()
    endpoint = Endpoint(
        name=hosted.name,
        context_window=CONTEXT_WINDOW,
        api_key=None if hosted.api_key is None else hosted.api_key.get_secret_value(),
        base_url=hosted.base_url,
        patience=Patience.of(hosted.timeout_s),
    )
    model = responses_model(endpoint) if hosted.api == "responses" else chat_completions_model(endpoint)
    stack.push_async_callback(model.close)
    return model


def _embedder(settings: Settings, stack: AsyncExitStack) -> Embedder | None:
    embedder = embedder_of(settings)
    if embedder is not None:
        stack.push_async_callback(embedder.close)
    return embedder


def embedder_of(settings: Settings) -> CompatibleEmbedder | None:
    """The embedding server that the settings name; its connections are whoever's who asks."""
    server = settings.embedding_server
    if server is None:
        return None
    key = None if server.api_key is None else server.api_key.get_secret_value()
    return CompatibleEmbedder(model=server.model, api_key=key, base_url=server.base_url)


def _worker(
    urls: DatabaseUrls,
    pools: DatabasePools,
    jobs: PostgresJobs,
    gate: Gate,
    transactions: PostgresTransactions,
    identities: PostgresIdentities,
    rules: Rules,
    embedder: Embedder | None,
    clock: Clock,
) -> Worker:
    return Worker(
        service_url=urls.service,
        jobs=jobs,
        task_runs=TaskRunWorker(
            gate=gate, transactions=transactions, identities=identities, workflows=rules.workflows, clock=clock
        ),
        documents=DocumentWorker(gate=gate, identities=identities, new_id=new_id),
        keys=PostgresKeyExpiry(pools.service.acquire),
        embedder=embedder,
        new_id=new_id,
    )
