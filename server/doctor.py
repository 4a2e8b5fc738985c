"""Examines an installation from top to bottom and says of each part whether it is well, and how to mend what is not."""

import asyncio
import errno
import os
import shutil
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from agent.personas import PersonaInvalid, load_personas
from domain.kernel import utc_now
from domain.resources import resource_folder
from knowledge.embeddings.model import EmbeddingsRefused, EmbeddingsUnavailable
from knowledge.isolate import IsolatedPreparer
from server.database.binaries import installed
from server.database.embedded import EmbeddedOptions, acquire
from server.database.embedding_index import is_indexed
from server.database.errors import DatabaseError, DatabaseMisconfigured, DatabaseUnavailable, MigrationRefused
from server.database.inspection import (
    BackgroundWork,
    Found,
    answering,
    background_work,
    policies_in_force,
    sendings,
    unapplied,
)
from server.database.migrate import OLDEST_PGVECTOR, OLDEST_POSTGRES, load_migrations
from server.database.sendings import PlaceState
from server.database.workers import WorkersHeard
from server.demo.heads import heads_of
from server.heads.place import Place
from server.heads.places import places_of, secrets_of
from server.home import GlowHome, HomeUnusable
from server.hub import embedder_of
from server.jwks import JwksUnusable, fetch_from, keys_of
from server.ledger_keys import KeySource, LedgerKeyUnusable
from server.logins import DatabaseUrls, Login
from server.rules import load_rules
from server.settings import (
    NO_EMBEDDINGS,
    OPENAI,
    EmbeddingServer,
    ModelServer,
    Settings,
    SettingsInvalid,
    load_settings,
)
from server.slack_app import SlackApp, SlackRefused, SlackUnreachable, installed_in
from server.system_config import SystemConfigFile, SystemConfigInvalid
from tools.policy import PolicyFilesError, Rulebook
from tools.policy.standing import standing_of
from tools.registry import RegistryError
from tools.workflows import WorkflowFilesError

if TYPE_CHECKING:
    import httpx2

State = Literal["ok", "note", "wrong"]

LEAST_FREE_BYTES = 1024**3
MODEL_TIMEOUT_S = 10.0
HUB_TIMEOUT_S = 3.0
RULES_FAULTY = (RegistryError, PolicyFilesError, WorkflowFilesError)
RULES_UNUSABLE = (*RULES_FAULTY, PersonaInvalid)
MANIFESTS_AT_FAULT = "mend the file that is named; `glow tools validate` checks again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part of the installation; `note` is nothing wrong, but worth knowing."""

    part: str
    state: State
    says: str
    mend: str | None = None
    """What to do about it; only of what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is to listen."""

    host: str
    port: int


async def examine(address: Address) -> AsyncGenerator[Finding]:
    """Every finding, as it is made; nothing is changed but that a stopped embedded database is started meanwhile."""
    for finding in _rules():
        yield finding
    yield await _port(address)
    try:
        settings = load_settings()
    except SettingsInvalid as invalid:
        for problem in invalid.problems:
            yield _wrong("settings", problem, "set it in the environment or in .env")
        return
    yield Finding(part="settings", state="ok", says="can be used")
    yield _secret(settings)
    yield _configuration(settings)
    if settings.issuer is not None:
        yield await _issuer(settings)
    for finding in _home(settings.home):
        yield finding
    async for finding in _database(settings):
        yield finding
    hosted = settings.hosted_model
    yield await model_finding(hosted, _wanted_models())
    for server in hosted.fallbacks if hosted else ():
        yield await _fallback(server)
    yield await _slack(settings.slack)


# What ships with the program ------------------------------------------------------------------------------------------


def _rules() -> Iterator[Finding]:
    try:
        rules = load_rules(IsolatedPreparer())
    except RULES_FAULTY as unusable:
        yield from (_wrong("manifests", fault, MANIFESTS_AT_FAULT) for fault in unusable.faults)
    except PersonaInvalid as unusable:
        yield _wrong("manifests", str(unusable), MANIFESTS_AT_FAULT)
    else:
        says = f"{len(rules.registry.all())} tools, {len(rules.policies.rules)} policies, workflows and personas fit"
        yield Finding(part="manifests", state="ok", says=says)
    try:
        load_migrations(resource_folder("migrations"))
    except MigrationRefused as refused:
        yield _wrong("migrations", str(refused), "put the files of this version back")


# This machine ---------------------------------------------------------------------------------------------------------


async def _port(address: Address) -> Finding:
    place = f"{address.host}:{address.port}"
    try:
        family, kind, protocol, _, bound = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(bound)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and (running := await _running_hub(place)):
            return running
        mend = "stop what listens there, or serve with another --host or --port"
        return _wrong("port", f"{place}: {error.strerror or error}", mend)
    return Finding(part="port", state="ok", says=f"{place} is free")


async def _running_hub(place: str) -> Finding | None:
    """What a hub that runs there says of itself; None: whatever listens there is none."""
    import httpx2

    try:
        async with httpx2.AsyncClient(timeout=HUB_TIMEOUT_S) as client:
            answer = cast(
                "dict[str, dict[str, dict[str, str]]]", (await client.get(f"http://{place}/readiness")).json()
            )
        lacking = {
            name: each.get("detail", "")
            for name, each in answer["dependencies"].items()
            if each["state"] in {"unavailable", "pending"}
        }
    except (httpx2.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if lacking:
        named = ", ".join(f"{name} ({detail})" if detail else name for name, detail in sorted(lacking.items()))
        return _wrong("port", f"a hub runs at {place} without its {named}", "see its log")
    return Finding(part="port", state="note", says=f"a hub runs at {place}, and is ready")


def _configuration(settings: Settings) -> Finding:
    try:
        config = SystemConfigFile.open(settings.system_config_path)
    except SystemConfigInvalid as invalid:
        mend = "mend the file; a server that runs holds the last good one, docs/settings.md says what it takes"
        return _wrong("configuration", str(invalid), mend)
    return Finding(part="configuration", state="ok", says=f"{config.path} can be used")


async def _issuer(settings: Settings) -> Finding:
    """Whether the issuer's keys can be had."""
    try:
        keys = keys_of(await fetch_from(settings.jwks_url or "")())
    except JwksUnusable as unusable:
        return _wrong(
            "issuer", f"its keys cannot be fetched: {unusable}", "mend GLOW_JWKS_URL, or let this machine reach it"
        )
    if not keys:
        says = "it has no key for RS256 or ES256 that may sign"
        return _wrong("issuer", says, "use asymmetric signing keys at the issuer, or mend GLOW_JWKS_URL")
    return Finding(part="issuer", state="ok", says=f"{len(keys)} keys of {settings.jwt_issuer}")


def _secret(settings: Settings) -> Finding:
    if settings.issuer is not None and settings.jwt_secret is None:
        says = "none are signed here: GLOW_JWT_SECRET is not set, they come from the issuer"
        return Finding(part="tokens", state="note", says=says)
    try:
        settings.signing_secret()
    except SettingsInvalid as invalid:
        return _wrong("tokens", invalid.problems[0], "`glow demo` makes one of its own in GLOW_HOME")
    except HomeUnusable as unusable:
        return _wrong("tokens", str(unusable), "run as the account that made it")
    return Finding(part="tokens", state="ok", says="there is a secret to sign them with")


def _home(home: GlowHome) -> Iterator[Finding]:
    there = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        yield _wrong("home", f"{there}: this account may not write there", "set GLOW_HOME to a folder of your own")
    elif there == home.path:
        yield Finding(part="home", state="ok", says=str(home.path))
    else:
        yield Finding(part="home", state="note", says=f"{home.path} is not there yet; the first command makes it")
    yield _disk(there)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    says = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < LEAST_FREE_BYTES:
        return _wrong("disk", says, "make room, or set GLOW_HOME to a folder on another disk")
    return Finding(part="disk", state="ok", says=says)


# The database ---------------------------------------------------------------------------------------------------------


async def _database(settings: Settings) -> AsyncGenerator[Finding]:
    if settings.is_embedded and not settings.home.path.exists():
        yield _programs()
        return
    try:
        async with _urls(settings) as urls:
            async for finding in _logins(urls):
                yield finding
            yield await _migrations(urls.app, embedded=settings.is_embedded)
            async for finding in _background(settings, urls.service):
                yield finding
            async for finding in _heads(settings, urls.service):
                yield finding
            async for finding in _policies(urls.service):
                yield finding
            yield await _embeddings(settings, urls.app)
    except SettingsInvalid as invalid:
        for problem in invalid.problems:
            yield _wrong("database", problem, "set all four, or none of them for the embedded database")
    except (DatabaseError, HomeUnusable) as fault:
        yield _wrong("database", str(fault), "see the server log it names, if any; another GLOW_HOME begins afresh")


def _programs() -> Finding:
    try:
        installed(EmbeddedOptions().major)
    except DatabaseError as missing:
        return _wrong("database", str(missing), "install the program's dependencies again")
    return Finding(part="database", state="note", says="the embedded PostgreSQL, made at the first start")


@asynccontextmanager
async def _urls(settings: Settings) -> AsyncGenerator[DatabaseUrls]:
    """The four logins, nothing migrated."""
    if not settings.is_embedded:
        yield settings.database_urls()
        return
    server = await asyncio.to_thread(acquire, settings.home)
    try:
        yield server.urls()
    finally:
        await asyncio.to_thread(server.release)


async def _logins(urls: DatabaseUrls) -> AsyncGenerator[Finding]:
    seen: list[Found] = []
    for login in Login:
        url = urls.url(login)
        if url is None:
            says = "GLOW_OWNER_DATABASE_URL is not set: nothing can be migrated from here"
            yield Finding(part=login, state="note", says=says)
            continue
        try:
            found = await answering(url, login)
        except DatabaseUnavailable as away:
            yield _wrong(login, str(away), "start the database, or mend host and port in this login's URL")
        except DatabaseMisconfigured as misconfigured:
            yield _wrong(login, str(misconfigured), "mend its URL; `glow migrate --bootstrap-sql` makes the logins")
        else:
            seen.append(found)
            yield _rights(login, found)
    for finding in _server(seen[0]) if seen else ():
        yield finding


def _rights(login: Login, found: Found) -> Finding:
    """Whether a login is who it should be, and may neither more nor less than its work needs."""
    remake = "a superuser runs `glow migrate --bootstrap-sql` again, which takes the rights away"
    if found.login != login:
        return _wrong(login, f"its URL logs in as {found.login}", f"its URL must log in as {login}")
    if found.unbound:
        return _wrong(login, "is superuser or has BYPASSRLS, so that no wall holds against it", remake)
    if found.owns and login is not Login.OWNER:
        return _wrong(login, "owns tables, whose rules it could change", f"give them to {Login.OWNER}")
    if found.records is False and login in {Login.APP, Login.RECORDER}:
        return _wrong(login, "may not write the record", "run `glow migrate` as the owner")
    if found.reads and login is Login.RECORDER:
        return _wrong(login, "may read the record or change it", "revoke all but INSERT on activity_events from it")
    return Finding(part=login, state="ok", says="logs in with the rights it needs, and no more")


def _server(found: Found) -> Iterator[Finding]:
    if found.major < OLDEST_POSTGRES:
        newer = f"PostgreSQL {OLDEST_POSTGRES} or newer is needed"
        yield _wrong("postgresql", f"version {found.version}", newer)
    else:
        yield Finding(part="postgresql", state="ok", says=f"version {found.version}")
    if found.vector is None:
        yield _wrong("pgvector", "is not installed", "a superuser runs `glow migrate --bootstrap-sql` once")
    elif tuple(int(part) for part in found.vector.split(".")[:2]) < OLDEST_PGVECTOR:
        yield _wrong("pgvector", f"version {found.vector} is too old", "a superuser runs ALTER EXTENSION vector UPDATE")
    else:
        yield Finding(part="pgvector", state="ok", says=f"version {found.vector}")


async def _migrations(app_url: str, *, embedded: bool) -> Finding:
    try:
        missing = await unapplied(app_url)
    except DatabaseUnavailable:
        return Finding(part="migrations", state="note", says="not known while the database does not answer")
    if not missing:
        return Finding(part="migrations", state="ok", says="all applied")
    says = f"{len(missing)} are to be applied, {missing[0]} first"
    if embedded:
        return Finding(part="migrations", state="note", says=f"{says}; the next start applies them")
    return _wrong("migrations", says, "run `glow migrate` with GLOW_OWNER_DATABASE_URL set")


async def _background(settings: Settings, service_url: str) -> AsyncGenerator[Finding]:
    """Whether anybody takes jobs, and whether the record is sealed."""
    try:
        found = await background_work(service_url)
    except DatabaseUnavailable:
        yield Finding(part="workers", state="note", says="not known before the database answers and is migrated")
        return
    yield _workers(found)
    yield await asyncio.to_thread(_ledger, settings.ledger_key_source, found.workers)


def _workers(found: BackgroundWork) -> Finding:
    """Where there are no jobs to take, that nobody does is no fault."""
    if found.workers.alive:
        return Finding(part="workers", state="ok", says=f"they take jobs: {found.workers.alive}")
    heard = "" if found.workers.heard_s is None else f", the last was heard {found.workers.heard_s:.0f} s ago"
    if found.jobs_wait:
        mend = "start `glow worker`, or `glow serve` without --no-worker"
        return _wrong("workers", f"jobs wait, and none takes them{heard}", mend)
    return Finding(part="workers", state="note", says=f"none takes jobs{heard}; no job waits")


def _ledger(source: KeySource, heard: WorkersHeard) -> Finding:
    """Whether one key signs the ledger, and whether it is that of this machine."""
    if heard.sealing_fault is not None:
        mend = "give every worker the same GLOW_LEDGER_KEY, _FILE or _VAULT_PATH (docs/ledger.md)"
        return _wrong("ledger", heard.sealing_fault, mend)
    try:
        key = source.found()
    except LedgerKeyUnusable as unusable:
        return _wrong("ledger", str(unusable), "mend that setting; until then nothing is sealed, and nothing lost")
    if key is None:
        says = "no key to sign it by is here yet: the first worker makes one in GLOW_HOME"
        return Finding(part="ledger", state="note", says=says)
    if heard.signing and key.key_id not in heard.signing:
        says = f"a worker on this machine would sign by key {key.key_id}, those that run sign by {heard.signing[0]}"
        return _wrong("ledger", says, "set the same GLOW_LEDGER_KEY here as there, or rotate it (docs/ledger.md)")
    return Finding(part="ledger", state="ok", says=f"signed by key {key.key_id}")


async def _heads(settings: Settings, service_url: str) -> AsyncGenerator[Finding]:
    """Whether heads get to where the operator's file would have them."""
    try:
        config = SystemConfigFile.open(settings.system_config_path, heads_of(settings.home)).current.heads
        places = {each.place_id: each for each in places_of(config, secrets_of(settings), utc_now)}
        states = {state.place: state for state in await sendings(service_url, list(places))}
    except (DatabaseUnavailable, SystemConfigInvalid):
        return
    if not places:
        says = "are sent nowhere: whoever holds database and key can write another history (docs/ledger.md)"
        yield Finding(part="heads", state="note", says=says)
    for place_id, place in places.items():
        yield _head_place(place, states.get(place_id))


def _head_place(place: Place, state: PlaceState | None) -> Finding:
    if state is None:
        return Finding(part="heads", state="note", says=f"none was sent to {place.name} yet")
    if state.failing:
        since = f"{state.since:%F %T} UTC: {state.failure}"
        says = f"of {state.failing} organizations do not get to {place.name} since {since}"
        return _wrong("heads", says, "mend the place, or `heads` in the configuration (docs/ledger.md)")
    return Finding(part="heads", state="ok", says=f"of {state.reached} organizations are at {place.name}")


async def _policies(service_url: str) -> AsyncGenerator[Finding]:
    """Whether the organizations' own policies can still be used; of those that can, nothing is said but how many."""
    try:
        rules = load_rules(IsolatedPreparer())
        held = await policies_in_force(service_url)
    except (DatabaseUnavailable, *RULES_UNUSABLE):
        # Said elsewhere.
        return
    tools, rulebook, wrong = {tool.manifest.name for tool in rules.registry.all()}, Rulebook(rules.policies), 0
    for each in held:
        standing = standing_of(each.policy, rulebook, tools)
        named = f"{each.organization}'s own {each.policy.id}"
        mend = (
            f"a SYSTEM_ADMIN runs `glow policy remove {each.policy.id}`, or puts it right: `glow policy add --replace`"
        )
        if standing.faults:
            says = f"{named} cannot be used, so that its calls are denied (policy_error): {'; '.join(standing.faults)}"
            yield _wrong("policies", says, mend)
        elif standing.gone:
            says = (
                f"{named} speaks of {', '.join(standing.gone)}, which there is not, so that it holds for nothing there"
            )
            yield _wrong("policies", says, mend)
        wrong += bool(standing.faults or standing.gone)
    if held and not wrong:
        yield Finding(part="policies", state="ok", says=f"{len(held)} of organizations' own, all usable")


async def _embeddings(settings: Settings, app_url: str) -> Finding:
    """Whether there is a server for vectors, and an index for those it gives; and which key it is sent."""
    server, embedder = settings.embedding_server, embedder_of(settings)
    if server is None or embedder is None:
        return Finding(part="embeddings", state="note", says=_why_none(settings))
    place = f"{server.model} at {server.base_url}, {_sent(server, settings)}"
    try:
        async with asyncio.timeout(MODEL_TIMEOUT_S):
            vector = await embedder.embed_question("Does it answer?")
            indexed = await is_indexed(app_url, await embedder.space())
    except (TimeoutError, EmbeddingsUnavailable, EmbeddingsRefused) as fault:
        mend = "mend GLOW_EMBEDDING_BASE_URL, GLOW_EMBEDDING_MODEL or the key; until then search is by words"
        return _wrong("embeddings", f"{place}: {fault or 'The embedding server takes too long.'}", mend)
    except DatabaseUnavailable:
        return Finding(part="embeddings", state="note", says="not known while the database does not answer")
    finally:
        await embedder.close()
    if not indexed:
        mend = "run `glow migrate`, which makes it beside traffic"
        return _wrong("embeddings", f"{place}: its vectors have no index, so that search is slow", mend)
    return Finding(part="embeddings", state="ok", says=f"{place}: {len(vector)} numbers a vector, indexed")


def _why_none(settings: Settings) -> str:
    if settings.embedding_model == NO_EMBEDDINGS:
        return f"none: GLOW_EMBEDDING_MODEL={NO_EMBEDDINGS} keeps documents from any server, and search is by words"
    return "none: search is by words; set OPENAI_API_KEY or GLOW_EMBEDDING_BASE_URL to search by meaning too"


def _sent(server: EmbeddingServer, settings: Settings) -> str:
    """Which key the embedding server is shown."""
    if server.key_variable is not None:
        return f"which is sent {server.key_variable}"
    withheld = " (OPENAI_API_KEY is for the model's server; GLOW_EMBEDDING_API_KEY would be for this one)"
    return "which is sent no key" + (withheld if settings.openai_api_key is not None else "")


# The model ------------------------------------------------------------------------------------------------------------


def _wanted_models() -> Collection[str]:
    """The models that agents want; none where their manifests are at fault, which is said elsewhere."""
    try:
        return load_personas(resource_folder("manifests")).models
    except PersonaInvalid:
        return ()


async def model_finding(hosted: ModelServer | None, wanted: Collection[str]) -> Finding:
    """Whether the server answers, takes the key, and has the model and those that agents want."""
    if hosted is None:
        says = "offline: set OPENAI_API_KEY (or OPENAI_BASE_URL) and GLOW_MODEL for a hosted one"
        return Finding(part="model", state="note", says=says)
    import httpx2

    base = hosted.base_url or OPENAI
    key = hosted.api_key.get_secret_value() if hosted.api_key else None
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        async with httpx2.AsyncClient(timeout=MODEL_TIMEOUT_S) as client:
            answer = await client.get(f"{base}/models", headers=headers)
            lacking = hosted.api == "responses" and await _has_no_responses(client, base, headers)
    except (httpx2.HTTPError, OSError) as error:
        mend = "mend OPENAI_BASE_URL, or let this machine reach it"
        return _wrong("model", f"{base} cannot be reached: {error or type(error).__name__}", mend)
    names = _names(answer.json) if answer.status_code == 200 else set[str]()
    found = _answered(hosted, base, answer.status_code, names)
    if lacking and found.state == "ok":
        return _wrong("model", f"{base} has no Responses API", "set GLOW_MODEL_API=chat_completions")
    if found.state == "ok" and names and (missing := sorted(set(wanted) - names)):
        mend = "mend `model` in the manifests of the agents that want it (manifests/agents)"
        return _wrong("model", f"{base} has no model {', '.join(missing)}, which agents want", mend)
    return found


async def _fallback(server: ModelServer) -> Finding:
    """Whether a model that is to answer in the other's place could."""
    found = await model_finding(server, ())
    mend = None if found.mend is None else "mend GLOW_FALLBACK_MODELS, or the key for it (GLOW_FALLBACK_API_KEY)"
    return replace(found, part=f"fallback {server.name}", mend=mend)


async def _has_no_responses(client: "httpx2.AsyncClient", base: str, headers: dict[str, str]) -> bool:
    """Whether that API is missing there; an empty request is refused, and costs nothing, where it is not."""
    return (await client.post(f"{base}/responses", headers=headers, json={})).status_code in {404, 405, 501}


def _answered(hosted: ModelServer, base: str, status: int, names: Collection[str]) -> Finding:
    if status in {401, 403}:
        return _wrong("model", f"{base} refuses the key (status {status})", "mend OPENAI_API_KEY")
    if status >= 500:
        return _wrong("model", f"{base} answers with status {status}", "try again later")
    if names and hosted.name not in names:
        return _wrong("model", f"{base} has no model {hosted.name}", "mend GLOW_MODEL")
    return Finding(part="model", state="ok", says=f"{hosted.name} at {base} ({hosted.api})")


def _names(body: Callable[[], object]) -> set[str]:
    """The models that a server lists; empty where it lists none, as some compatible ones do."""
    try:
        listed = cast("dict[str, list[dict[str, str]]]", body())
        return {each["id"] for each in listed["data"]}
    except (ValueError, KeyError, TypeError):
        return set()


# Slack ----------------------------------------------------------------------------------------------------------------


async def _slack(app: SlackApp | None) -> Finding:
    if app is None:
        says = "no Slack app: set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET for one (docs/slack.md)"
        return Finding(part="slack", state="note", says=says)
    try:
        workspace = await installed_in(app)
    except SlackRefused as refused:
        return _wrong("slack", f"{app.base_url} refuses the bot token ({refused.reason})", "mend SLACK_BOT_TOKEN")
    except SlackUnreachable as away:
        return _wrong("slack", str(away), "mend SLACK_API_BASE_URL, or let this machine reach it")
    return Finding(part="slack", state="ok", says=f"installed in {workspace.name} ({workspace.team_id})")


def _wrong(part: str, says: str, mend: str) -> Finding:
    return Finding(part=part, state="wrong", says=says, mend=mend)
