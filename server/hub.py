"""The composition root: everything the doors share, built once in the order it depends on and taken down in reverse."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from agent.budget import Budget, CostOf
from agent.conversations.postgres.keeper import PostgresRunKeeper
from agent.conversations.service import ConversationService
from agent.model import Model
from agent.orchestrator import Orchestrator
from agent.personas import Personas, load_personas
from agent.run_options import RunOptions
from agent.runs import Runs
from agent.titles import Titles
from domain.analytics.model import Price
from domain.idempotency.postgres import PostgresKeyExpiry
from domain.kernel import ApprovalId, Clock, NewId, new_id, utc_now
from domain.resources import resource_folder
from knowledge.embeddings.compatible import CompatibleEmbedder
from knowledge.embeddings.ports import Embedder
from knowledge.embeddings.queries import QueryVectors
from knowledge.isolate import IsolatedPreparer
from knowledge.model import SearchWeights, StoredFile
from knowledge.prepare import PreparedDocument
from server.auth import Authenticator
from server.bearers import Bearers, IssuerTokens
from server.database.conversations import PostgresSessions
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools, open_pools
from server.database.queue import PostgresJobs
from server.database.recorder import GroupRecorder
from server.database.unit_of_work import PostgresTransactions
from server.database.wakeups import RunWakeups
from server.database.workers import PostgresWorkers
from server.following import TaskRunFeed
from server.jwks import Jwks, fetch_from
from server.ledger import PostgresLedger
from server.logins import DatabaseUrls
from server.models import Models, only, open_models
from server.offers import PolicyOffers
from server.origins import origin_of
from server.settings import Settings
from server.slack_app import SlackApp, identified
from server.system_config import RunLimits, SystemConfig, SystemConfigFile
from server.tokens import Tokens, audiences
from server.worker.approvals import ApprovalWorker
from server.worker.documents import DocumentWorker
from server.worker.objectives import ObjectiveWorker
from server.worker.runs import RunWorker
from server.worker.schedules import ScheduleWorker
from server.worker.sealing import SealWorker
from server.worker.settling import SettleWorker
from server.worker.task_runs import TaskRunWorker
from server.worker.worker import Worker
from tools.gate import Fault, Gate, no_fault
from tools.handlers import (
    HANDLERS,
    Introduction,
    agent_handlers,
    document_handlers,
    policy_handlers,
    search_by_meaning,
    workspace_handlers,
)
from tools.policy import Policies
from tools.registry import Registry
from tools.staging import Staging
from tools.workflows import Workflows, load_workflows

log = structlog.get_logger()


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
    workers: PostgresWorkers
    gate: Gate
    offers: PolicyOffers
    identities: PostgresIdentities
    tokens: Tokens
    authenticator: Authenticator
    models: Models
    orchestrator: Orchestrator
    runs: Runs
    conversations: ConversationService
    task_runs: TaskRunFeed
    worker: Worker
    clock: Clock
    new_id: NewId

    @property
    def model(self) -> Model:
        """Who speaks where no persona wants another model."""
        return self.models.default

    @property
    def staging(self) -> Staging:
        """Where a door holds uploaded bytes for the length of one call."""
        return self.rules.staging

    @property
    def own_origin(self) -> str:
        """The origin of the hub's own pages."""
        return origin_of(self.public_url)

    def approval_url(self, approval_id: ApprovalId) -> str:
        """Where a person decides."""
        return approval_link(self.public_url, approval_id)


def approval_link(public_url: str, approval_id: ApprovalId) -> str:
    """A plain link to the page where a person decides; it proves nothing about who opens it."""
    return f"{public_url}/#approval={approval_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """What a test or a benchmark replaces; the server itself runs on the defaults."""

    fault: Fault = no_fault
    model: Model | None = None
    manifests: Path | None = None
    embedder: Embedder | None = None
    run_options: RunOptions | None = None
    clock: Clock = utc_now


def load_rules(
    preparer: IsolatedPreparer,
    embedder: Embedder | None = None,
    slack: SlackApp | None = None,
    folder: Path | None = None,
) -> Rules:
    """Read and check everything under manifests/, or under another `folder` that is laid out like it.

    `preparer` reads the files that document_index is asked for, `embedder` gives vectors; None: search is by words.
    `slack`: the app whose workspaces can be connected; None: none can.

    Raises  RegistryError, PolicyFilesError, WorkflowFilesError, PersonaInvalid: the server does not start.
    """
    folder = folder or resource_folder("manifests")
    staging = Staging()

    async def prepare_file(stored: StoredFile) -> PreparedDocument:
        return await preparer.prepare(stored.content, title=stored.title, media_type=stored.media_type)

    personas = load_personas(folder)
    handlers = dict(HANDLERS)
    if embedder is not None:
        handlers["knowledge_search"] = search_by_meaning(QueryVectors(embedder))
    if slack is not None:
        handlers.update(workspace_handlers(partial(identified, slack), personas.names))
    policies = Policies.load(folder / "policies")
    registry = Registry.load(
        folder,
        handlers,
        document_handlers(staging, prepare_file, embedder),
        agent_handlers(introductions(personas)),
        policy_handlers(policies),
    )
    manifests = {tool.manifest.name: tool.manifest for tool in registry.all()}
    personas.check_tools(manifests)
    return Rules(
        registry=registry,
        policies=policies,
        workflows=load_workflows(folder / "workflows", manifests),
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
        preparer = await stack.enter_async_context(IsolatedPreparer())
        rules = load_rules(preparer, embedder, settings.slack, options.manifests)
        pools = await stack.enter_async_context(open_pools(urls))
        transactions = PostgresTransactions(
            pools.app, rules.workflows, lambda: prices_of(config.current), lambda: weights_of(config.current)
        )
        recorder = GroupRecorder(pools.recorder, time.monotonic)
        await stack.enter_async_context(recorder.running())
        wakeups = RunWakeups(urls.service)
        await stack.enter_async_context(wakeups.running())
        jobs = PostgresJobs(pools.service)
        workers = PostgresWorkers(pools.service)
        task_runs = TaskRunFeed(transactions)
        gate = _gate(rules, transactions, recorder, jobs, task_runs, options)
        offers = PolicyOffers(registry=rules.registry, policies=rules.policies, transactions=transactions)
        wanted = rules.personas.models
        models = only(options.model) if options.model else open_models(settings.hosted_model, wanted, stack)
        identities = PostgresIdentities(pools.app)
        tokens = _tokens(settings, public_url, options.clock)
        sessions = PostgresSessions(transactions)
        ledger = PostgresLedger(transactions, gate.settle, options.clock)
        orchestrator = _orchestrator(rules, models, gate, ledger, offers, config, public_url, options)
        approvals = ApprovalWorker(gate=gate, identities=identities, new_id=new_id)
        runs = Runs(
            orchestrator=orchestrator,
            sessions=sessions,
            run_log=recorder,
            keeper=PostgresRunKeeper(pools.service.acquire),
            queue=jobs,
            questions=approvals,
            clock=options.clock,
            new_id=new_id,
            options=options.run_options or RunOptions(most_of_a_principal=lambda: config.current.limits.runs),
            wakeups=wakeups,
            titles=Titles(
                orchestrator,
                sessions,
                lambda: config.current.conversations.titles == "model",
                new_id,
                cost_of=priced(config),
            ),
        )
        await stack.enter_async_context(runs)
        # Before runs are wound down: what waits for a task run is answered with where that stands.
        stack.callback(task_runs.end_all)
        yield Hub(
            settings=settings,
            config=config,
            public_url=public_url,
            rules=rules,
            pools=pools,
            transactions=transactions,
            recorder=recorder,
            jobs=jobs,
            workers=workers,
            gate=gate,
            offers=offers,
            identities=identities,
            tokens=tokens,
            authenticator=Authenticator(_bearers(settings, tokens, stack), identities, options.clock),
            models=models,
            orchestrator=orchestrator,
            runs=runs,
            conversations=ConversationService(sessions, options.clock),
            task_runs=task_runs,
            worker=_worker(
                settings,
                urls,
                pools,
                jobs,
                workers,
                gate,
                transactions,
                identities,
                rules,
                runs,
                approvals,
                embedder,
                options.clock,
            ),
            clock=options.clock,
            new_id=new_id,
        )


def prices_of(config: SystemConfig) -> Mapping[str, Price]:
    """What models cost, as reports reckon with it."""
    return {
        model: Price(input=price.input, output=price.output, cached_input=price.cached_input)
        for model, price in config.prices.items()
    }


def priced(config: SystemConfigFile) -> CostOf:
    """What a call of a model costs when it is asked; None where it has no price, or the provider told no tokens."""

    def cost_of(model: str, read: int, cached: int, written: int) -> float | None:
        price = config.current.prices.get(model)
        return None if price is None or not (read or written) else price.of(read, written, cached)

    return cost_of


def window_of(model: Model, config: SystemConfig) -> int:
    """How many tokens a model holds: what the operator says of it, else what it is taken to."""
    told = config.models.get(model.name)
    return model.context_window if told is None else told.context_tokens


def weights_of(config: SystemConfig) -> SearchWeights:
    """What the orders of a search count, as knowledge fuses them."""
    return SearchWeights(lexical=config.search.lexical_weight, vector=config.search.vector_weight)


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
    rules: Rules,
    transactions: PostgresTransactions,
    recorder: GroupRecorder,
    jobs: PostgresJobs,
    task_runs: TaskRunFeed,
    options: HubOptions,
) -> Gate:
    return Gate(
        registry=rules.registry,
        policies=rules.policies,
        workflows=rules.workflows,
        transactions=transactions,
        recorder=recorder,
        queue=jobs,
        task_runs=task_runs,
        clock=options.clock,
        monotonic=time.monotonic,
        new_id=new_id,
        fault=options.fault,
    )


def _orchestrator(
    rules: Rules,
    models: Models,
    gate: Gate,
    ledger: PostgresLedger,
    offers: PolicyOffers,
    config: SystemConfigFile,
    public_url: str,
    options: HubOptions,
) -> Orchestrator:
    orchestrator = Orchestrator(
        model=models.default,
        models=models.by_name,
        gate=gate,
        refuse=gate.refuse,
        ledger=ledger,
        offers=offers,
        personas=rules.personas,
        clock=options.clock,
        new_id=new_id,
        approval_url=partial(approval_link, public_url),
        bounded=lambda budget: bounded(budget, config.current.runs),
        cost_of=priced(config),
        window=lambda model: window_of(model, config.current),
    )
    _say_of_models(orchestrator)
    return orchestrator


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
    settings: Settings,
    urls: DatabaseUrls,
    pools: DatabasePools,
    jobs: PostgresJobs,
    workers: PostgresWorkers,
    gate: Gate,
    transactions: PostgresTransactions,
    identities: PostgresIdentities,
    rules: Rules,
    runs: Runs,
    approvals: ApprovalWorker,
    embedder: Embedder | None,
    clock: Clock,
) -> Worker:
    return Worker(
        service_url=urls.service,
        jobs=jobs,
        heartbeats=workers,
        task_runs=TaskRunWorker(
            gate=gate,
            transactions=transactions,
            identities=identities,
            workflows=rules.workflows,
            clock=clock,
            objective=ObjectiveWorker(runs=runs, transactions=transactions, clock=clock).work,
        ),
        schedules=ScheduleWorker(gate=gate, transactions=transactions, identities=identities, clock=clock),
        documents=DocumentWorker(gate=gate, identities=identities, new_id=new_id),
        approvals=approvals,
        settling=SettleWorker(gate=gate, identities=identities, new_id=new_id),
        runs=RunWorker(runs),
        sealing=SealWorker(pools.service, settings.ledger_key),
        keys=PostgresKeyExpiry(pools.service.acquire),
        embedder=embedder,
        new_id=new_id,
    )
