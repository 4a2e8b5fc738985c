"""The composition root: everything the doors share, built once in the order it depends on and taken down in reverse."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from agent.conversations.postgres.keeper import PostgresRunKeeper
from agent.conversations.service import ConversationService
from agent.model import Model
from agent.orchestrator import Orchestrator
from agent.purse import BudgetPurse
from agent.run_options import RunOptions
from agent.runs import Runs
from agent.titles import Titles
from domain.budgets.model import Payer
from domain.budgets.postgres import PostgresBudgetReturns, PostgresReservations
from domain.idempotency.postgres import PostgresKeyExpiry
from domain.kernel import ApprovalId, Clock, NewId, new_id, utc_now
from knowledge.embeddings.compatible import CompatibleEmbedder
from knowledge.embeddings.local import LocalEmbedder
from knowledge.embeddings.ports import Embedder
from knowledge.fetching.model import Page
from knowledge.isolate import IsolatedPreparer
from knowledge.ports import Storage
from knowledge.prepare import preparation
from knowledge.reranking.compatible import CompatibleReranker
from knowledge.reranking.stage import SecondStage
from server.auth import Authenticator
from server.bearers import Bearers, IssuerTokens
from server.database.conversations import PostgresSessions
from server.database.files import KeptFiles
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools, open_pools
from server.database.queue import PostgresJobs
from server.database.recorder import GroupRecorder
from server.database.reviews import PostgresReviews
from server.database.sendings import PostgresSendings
from server.database.stored_texts import PostgresStoredTexts
from server.database.unit_of_work import PostgresTransactions
from server.database.wakeups import RunWakeups
from server.database.workers import PostgresWorkers
from server.document_following import DocumentFeed
from server.following import TaskRunFeed
from server.heads.place import Place
from server.heads.places import places_of, secrets_of
from server.incidents import PostgresIncidents
from server.jwks import Jwks, fetch_from
from server.ledger import PostgresLedger
from server.links import FileLinks
from server.logins import DatabaseUrls
from server.models import Models, only, open_models
from server.offers import PolicyOffers
from server.operated import (
    bounded,
    earned_rules_of,
    price_now,
    priced,
    prices_of,
    rerank_rules_of,
    weights_of,
    window_of,
)
from server.origins import origin_of
from server.rules import Rules, load_rules
from server.settings import Settings
from server.settlements import HELD, Settlements
from server.source_kinds import source_kinds
from server.system_config import HeadsConfig, SystemConfigFile
from server.tokens import Tokens, audiences
from server.worker.approvals import ApprovalWorker
from server.worker.documents import DocumentWorker
from server.worker.erasing import ErasureWorker
from server.worker.files import FileWorker
from server.worker.heads import HeadWorker
from server.worker.objectives import ObjectiveWorker
from server.worker.reviews import DueReviews, ReviewWorker
from server.worker.runs import RunWorker
from server.worker.schedules import ScheduleWorker
from server.worker.sealing import SealWorker
from server.worker.settling import SettleWorker
from server.worker.task_runs import TaskRunWorker
from server.worker.worker import Worker
from tools.gate import Fault, Gate, no_fault
from tools.ports import JobQueue
from tools.staging import Staging

if TYPE_CHECKING:
    from knowledge.fetching.fetcher import WebFetcher

log = structlog.get_logger()

SETTLED_WITHIN_S = 60.0


class BuildGate(Protocol):
    """Builds gates, which differ in what is named here and in nothing else."""

    def __call__(self, *, queue: JobQueue, clock: Clock, fault: Fault = no_fault) -> Gate:
        """A gate."""
        ...


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
    reservations: PostgresReservations
    """What is held of budgets, also by the models of runs."""
    gate: Gate
    gate_with: BuildGate
    """Another gate of the same parts, whose jobs go elsewhere or whose clock is another."""
    offers: PolicyOffers
    identities: PostgresIdentities
    tokens: Tokens
    shared_secret: str = field(repr=False)
    """Known to every process of this installation, and to nobody else; at least 32 bytes."""
    links: FileLinks
    authenticator: Authenticator
    models: Models
    orchestrator: Orchestrator
    runs: Runs
    conversations: ConversationService
    task_runs: TaskRunFeed
    document_progress: DocumentFeed
    settlements: Settlements
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

    def places(self) -> Sequence[Place]:
        """Where heads of the ledger are sent, as the operator's file says now."""
        return places_of(self.config.current.heads, secrets_of(self.settings), self.clock)

    def approval_url(self, approval_id: ApprovalId) -> str:
        """Where a person decides."""
        return approval_link(self.public_url, approval_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What stands on the database."""

    pools: DatabasePools
    transactions: PostgresTransactions
    sessions: PostgresSessions
    recorder: GroupRecorder
    wakeups: RunWakeups
    jobs: PostgresJobs
    workers: PostgresWorkers
    identities: PostgresIdentities
    reservations: PostgresReservations


def approval_link(public_url: str, approval_id: ApprovalId) -> str:
    """A plain link to the page where a person decides; it proves nothing about who opens it."""
    return f"{public_url}/#approval={approval_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """What a test, a benchmark or the demo replaces; the server itself runs on the defaults."""

    fault: Fault = no_fault
    model: Model | None = None
    manifests: Path | None = None
    embedder: Embedder | None = None
    fetcher: "WebFetcher | None" = None
    run_options: RunOptions | None = None
    clock: Clock = utc_now
    storage: Storage | None = None
    """Where files are kept; None: in the database."""
    settled_within: timedelta = HELD
    heads: HeadsConfig | None = None
    """Where heads of the ledger are sent as long as the operator's file names no place."""


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
        config = SystemConfigFile.open(settings.system_config_path, options.heads)
        await stack.enter_async_context(_watched(config))
        embedder = options.embedder or _embedder(settings, stack)
        preparer = await stack.enter_async_context(IsolatedPreparer(budget=settings.chunk_tokens))
        prepared_as = preparation(settings.chunk_tokens)
        fetch = partial(_page, options.fetcher, config)
        sources = source_kinds(settings, config, options.fetcher)
        stage = _second_stage(settings, config, stack)
        rules = load_rules(
            preparer,
            embedder,
            stage,
            settings.slack,
            options.manifests,
            prepared_as,
            fetch,
            sources=sources,
            grace=lambda: config.current.documents.grace,
            storage=options.storage,
        )
        stores = await _stores(urls, rules, config, options.storage, stack)
        task_runs, settlements = (
            TaskRunFeed(stores.transactions),
            Settlements(stores.transactions, options.settled_within),
        )
        gate_with = _gates(rules, stores, task_runs, config)
        gate = gate_with(queue=stores.jobs, clock=options.clock, fault=options.fault)
        offers = PolicyOffers(registry=rules.registry, policies=rules.policies, transactions=stores.transactions)
        wanted = rules.personas.models
        models = only(options.model) if options.model else open_models(settings.hosted_model, wanted, stack)
        tokens = _tokens(settings, public_url, options.clock)
        ledger = PostgresLedger(stores.transactions, gate.settle, options.clock)
        stored = PostgresStoredTexts(stores.transactions)
        orchestrator = _orchestrator(
            rules, models, gate, ledger, stored, offers, stores.reservations, config, public_url, options
        )
        approvals = ApprovalWorker(gate=gate, identities=stores.identities, new_id=new_id)
        runs = _runs(orchestrator, stores, approvals, config, options)
        await stack.enter_async_context(runs)
        # Before runs are wound down: what waits for a task run is answered with where that stands.
        stack.callback(task_runs.end_all)
        document_progress = DocumentFeed(stores.transactions)
        stack.callback(document_progress.end_all)
        stack.callback(settlements.end_all)
        yield Hub(
            settings=settings,
            config=config,
            public_url=public_url,
            rules=rules,
            pools=stores.pools,
            transactions=stores.transactions,
            recorder=stores.recorder,
            jobs=stores.jobs,
            workers=stores.workers,
            reservations=stores.reservations,
            gate=gate,
            gate_with=gate_with,
            offers=offers,
            identities=stores.identities,
            tokens=tokens,
            shared_secret=_shared_secret(tokens, urls),
            links=FileLinks(_shared_secret(tokens, urls), options.clock),
            authenticator=Authenticator(_bearers(settings, tokens, stack), stores.identities, options.clock),
            models=models,
            orchestrator=orchestrator,
            runs=runs,
            conversations=ConversationService(stores.sessions, options.clock),
            task_runs=task_runs,
            document_progress=document_progress,
            settlements=settlements,
            worker=_worker(settings, config, urls, stores, gate, rules, runs, approvals, embedder, options),
            clock=options.clock,
            new_id=new_id,
        )


@asynccontextmanager
async def _watched(config: SystemConfigFile) -> AsyncGenerator[None]:
    """The file is looked at for the length of the block."""
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(config.watch(), name="system_config.watch")
        try:
            yield
        finally:
            watching.cancel()


async def _page(fetcher: "WebFetcher | None", config: SystemConfigFile, url: str) -> Page:
    """A page no larger than what may be uploaded."""
    from knowledge.fetching.fetcher import WebFetcher

    return await (fetcher or WebFetcher()).page(url, config.current.uploads.file_bytes)


async def _stores(
    urls: DatabaseUrls, rules: Rules, config: SystemConfigFile, storage: Storage | None, stack: AsyncExitStack
) -> Stores:
    pools = await stack.enter_async_context(open_pools(urls))
    transactions = PostgresTransactions(
        pools.app,
        rules.workflows,
        lambda: prices_of(config.current),
        lambda: weights_of(config.current),
        lambda: earned_rules_of(config.current),
        storage,
    )
    recorder, wakeups = GroupRecorder(pools.recorder, time.monotonic), RunWakeups(urls.service)
    await stack.enter_async_context(recorder.running())
    await stack.enter_async_context(wakeups.running())
    return Stores(
        pools=pools,
        transactions=transactions,
        sessions=PostgresSessions(transactions),
        recorder=recorder,
        wakeups=wakeups,
        jobs=PostgresJobs(pools.service),
        workers=PostgresWorkers(pools.service),
        identities=PostgresIdentities(pools.app),
        reservations=reservations_on(pools),
    )


def reservations_on(pools: DatabasePools) -> PostgresReservations:
    """What is held of budgets; what is settled waits for a connection as long as it takes."""
    patiently = partial(pools.app.acquire, timeout_s=SETTLED_WITHIN_S)
    return PostgresReservations(pools.app.acquire, patiently, utc_now, new_id)


def _gates(rules: Rules, stores: Stores, task_runs: TaskRunFeed, config: SystemConfigFile) -> BuildGate:
    """The one place that says what a gate of this process is made of."""
    return partial(
        Gate,
        registry=rules.registry,
        policies=rules.policies,
        workflows=rules.workflows,
        transactions=stores.transactions,
        recorder=stores.recorder,
        task_runs=task_runs,
        incidents=PostgresIncidents(stores.transactions, stores.identities),
        monotonic=time.monotonic,
        new_id=new_id,
        price_of=price_now(config),
        reservations=stores.reservations,
    )


def _runs(
    orchestrator: Orchestrator,
    stores: Stores,
    approvals: ApprovalWorker,
    config: SystemConfigFile,
    options: HubOptions,
) -> Runs:
    return Runs(
        orchestrator=orchestrator,
        sessions=stores.sessions,
        run_log=stores.recorder,
        keeper=PostgresRunKeeper(stores.pools.service.acquire),
        queue=stores.jobs,
        questions=approvals,
        clock=options.clock,
        new_id=new_id,
        options=options.run_options or RunOptions(most_of_a_principal=lambda: config.current.limits.runs),
        wakeups=stores.wakeups,
        titles=Titles(
            orchestrator,
            stores.sessions,
            lambda: config.current.conversations.titles == "model",
            new_id,
            cost_of=priced(config),
        ),
    )


def _orchestrator(
    rules: Rules,
    models: Models,
    gate: Gate,
    ledger: PostgresLedger,
    stored: PostgresStoredTexts,
    offers: PolicyOffers,
    reservations: PostgresReservations,
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
        stored=stored,
        offers=offers,
        personas=rules.personas,
        clock=options.clock,
        new_id=new_id,
        approval_url=partial(approval_link, public_url),
        bounded=lambda budget: bounded(budget, config.current.runs),
        cost_of=priced(config),
        window=lambda model: window_of(model, config.current),
        purse_of=lambda principal, run_id: BudgetPurse(
            reservations=reservations,
            price_of=price_now(config),
            payer=Payer(organization_id=principal.organization_id, principal_id=principal.principal_id, run_id=run_id),
        ),
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


def _shared_secret(tokens: Tokens, urls: DatabaseUrls) -> str:
    """Where tokens come from an issuer alone, what all processes have in common is their way into the database."""
    return (
        hashlib.sha256(urls.service.encode()).hexdigest() if tokens.secret is None else tokens.secret.get_secret_value()
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


def embedder_of(settings: Settings) -> CompatibleEmbedder | LocalEmbedder | None:
    """Who the settings say gives vectors; a server's connections are whoever's who asks."""
    if settings.embeds_locally:
        return LocalEmbedder()
    server = settings.embedding_server
    if server is None:
        return None
    key = None if server.api_key is None else server.api_key.get_secret_value()
    return CompatibleEmbedder(model=server.model, api_key=key, base_url=server.base_url)


def _second_stage(settings: Settings, config: SystemConfigFile, stack: AsyncExitStack) -> SecondStage | None:
    reranker = reranker_of(settings)
    if reranker is None:
        return None
    stack.push_async_callback(reranker.close)
    return SecondStage(reranker, lambda: rerank_rules_of(config.current))


def reranker_of(settings: Settings) -> CompatibleReranker | None:
    """The rerank server that the settings name; its connections are whoever's who asks."""
    server = settings.rerank_server
    if server is None:
        return None
    key = None if server.api_key is None else server.api_key.get_secret_value()
    return CompatibleReranker(model=server.model, api=server.api, api_key=key, base_url=server.base_url)


def _heads(settings: Settings, config: SystemConfigFile, stores: Stores, clock: Clock) -> HeadWorker:
    secrets = secrets_of(settings)
    return HeadWorker(
        PostgresSendings(stores.pools.service),
        lambda: places_of(config.current.heads, secrets, clock),
        lambda: timedelta(seconds=config.current.heads.every_s),
    )


def _worker(
    settings: Settings,
    config: SystemConfigFile,
    urls: DatabaseUrls,
    stores: Stores,
    gate: Gate,
    rules: Rules,
    runs: Runs,
    approvals: ApprovalWorker,
    embedder: Embedder | None,
    options: HubOptions,
) -> Worker:
    clock = options.clock
    storage = options.storage
    files = None if storage is None else FileWorker(files=KeptFiles(stores.pools.service, storage), clock=clock)
    transactions, identities = stores.transactions, stores.identities
    return Worker(
        service_url=urls.service,
        jobs=stores.jobs,
        heartbeats=stores.workers,
        task_runs=TaskRunWorker(
            gate=gate,
            transactions=transactions,
            identities=identities,
            workflows=rules.workflows,
            clock=clock,
            objective=ObjectiveWorker(runs=runs, transactions=transactions, clock=clock).work,
        ),
        schedules=ScheduleWorker(gate=gate, transactions=transactions, identities=identities, clock=clock),
        documents=DocumentWorker(gate=gate, identities=identities, new_id=new_id, files=files),
        files=files,
        approvals=approvals,
        settling=SettleWorker(gate=gate, identities=identities, new_id=new_id),
        erasing=ErasureWorker(gate=gate, identities=identities, new_id=new_id),
        reviews=ReviewWorker(gate=gate, identities=identities, new_id=new_id),
        due_reviews=DueReviews(PostgresReviews(stores.pools.service), stores.jobs),
        runs=RunWorker(runs),
        sealing=SealWorker(stores.pools.service, settings.ledger_key_source.keys),
        heads=_heads(settings, config, stores, clock),
        keys=PostgresKeyExpiry(stores.pools.service.acquire),
        budgets=PostgresBudgetReturns(stores.pools.service.acquire),
        embedder=embedder,
        prepared_as=preparation(settings.chunk_tokens),
        remind_before=lambda: config.current.approvals.remind_before,
        new_id=new_id,
    )
