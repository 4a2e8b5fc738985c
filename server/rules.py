"""What the manifests say, read once at start: tools, policies, workflows and personas that fit together."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.personas import Personas, load_personas
from domain.resources import resource_folder
from knowledge.embeddings.ports import Embedder
from knowledge.embeddings.queries import QueryVectors
from knowledge.fetching.model import Page
from knowledge.isolate import IsolatedPreparer
from knowledge.keeping import keeping_in
from knowledge.model import StoredFile
from knowledge.ports import Storage
from knowledge.prepare import PreparedDocument, preparation
from knowledge.reranking.stage import SecondStage
from server.slack_app import SlackApp, identified
from tools.handlers import (
    HANDLERS,
    Fetch,
    Grace,
    Introduction,
    SourceKinds,
    agent_handlers,
    as_usual,
    document_handlers,
    page_handlers,
    policy_handlers,
    searching_with,
    source_handlers,
    workspace_handlers,
)
from tools.policy import Policies, Rulebook
from tools.registry import Registry
from tools.staging import Staging
from tools.workflows import Workflows, load_workflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the manifests say: tools, policies, workflows and personas that fit together."""

    registry: Registry
    policies: Policies
    workflows: Workflows
    personas: Personas
    staging: Staging


def load_rules(
    preparer: IsolatedPreparer,
    embedder: Embedder | None = None,
    stage: SecondStage | None = None,
    slack: SlackApp | None = None,
    folder: Path | None = None,
    prepared_as: str = preparation(),
    fetch: Fetch | None = None,
    grace: Grace = as_usual,
    storage: Storage | None = None,
    sources: SourceKinds | None = None,
) -> Rules:
    """Read and check everything under manifests/, or under another `folder` that is laid out like it.

    `preparer` reads the files that document_index is asked for, `embedder` gives vectors; None: search is by words.
    `stage`: the second look at what a search found first; None: there is none.
    `prepared_as`: how `preparer` reads and cuts up.
    `slack`: the app whose workspaces can be connected; None: none can.
    `fetch`: how pages of the web are had; None: within the usual bounds. `sources`: how sources are opened, by kind.
    `grace`: how long deleted documents can be restored. `storage`: where files are kept; None: in the database.

    Raises  RegistryError, PolicyFilesError, WorkflowFilesError, PersonaInvalid: the server does not start.
    """
    folder = folder or resource_folder("manifests")
    staging = Staging()

    async def prepare_file(stored: StoredFile) -> PreparedDocument:
        return await preparer.prepare(
            stored.content,
            title=stored.title,
            media_type=stored.media_type,
            unpack=not stored.is_part,
            language=stored.language,
        )

    keep = keeping_in(storage)
    personas = load_personas(folder)
    handlers = dict(HANDLERS)
    if embedder is not None or stage is not None:
        handlers["knowledge_search"] = searching_with(None if embedder is None else QueryVectors(embedder), stage)
    if slack is not None:
        handlers.update(workspace_handlers(partial(identified, slack), personas.names))
    policies = Policies.load(folder / "policies")
    registry = Registry.load(
        folder,
        handlers,
        document_handlers(staging, prepare_file, embedder, prepared_as, grace, keep),
        page_handlers(fetch or fetched, keep),
        source_handlers(sources or {}, grace=grace, keep=keep),
        agent_handlers(introductions(personas)),
        policy_handlers(Rulebook(policies)),
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


async def fetched(url: str) -> Page:
    """A page of the public web, within the usual bounds."""
    from knowledge.fetching.fetcher import WebFetcher

    return await WebFetcher().page(url)


def introductions(personas: Personas) -> Mapping[str, Introduction]:
    """The personas, as the tools know them."""
    return {each.name: Introduction(title=each.title, description=each.description) for each in personas.all()}
