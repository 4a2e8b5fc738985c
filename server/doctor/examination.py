"""Examines an installation from top to bottom and says of each part whether it is well, and how to mend what is not."""

from collections.abc import AsyncGenerator

from server.database.errors import DatabaseError
from server.doctor.access import issuer_finding, secret_finding
from server.doctor.background import background_findings, heads_findings
from server.doctor.database import logins_findings, migrations_finding, programs_finding, unmigrated_urls
from server.doctor.embeddings import embeddings_finding, vectors_findings
from server.doctor.files import files_finding
from server.doctor.finding import Finding, wrong
from server.doctor.google import google_findings
from server.doctor.machine import Address, home_findings, port_finding
from server.doctor.models import fallback_finding, model_finding
from server.doctor.reranking import rerank_finding
from server.doctor.rules import policies_findings, rules_findings, wanted_models
from server.doctor.slack import slack_finding
from server.home import HomeUnusable
from server.settings import Settings, SettingsInvalid, load_settings
from server.system_config import SystemConfigFile, SystemConfigInvalid


async def examine(address: Address) -> AsyncGenerator[Finding]:
    """Every finding, as it is made.

    Nothing is changed: a stopped embedded database is started meanwhile, a file put where files are kept, and removed.
    """
    for finding in rules_findings():
        yield finding
    yield await port_finding(address)
    try:
        settings = load_settings()
    except SettingsInvalid as invalid:
        for problem in invalid.problems:
            yield wrong("settings", problem, "set it in the environment or in .env")
        return
    yield Finding(part="settings", state="ok", says="can be used")
    yield secret_finding(settings)
    yield _configuration(settings)
    if settings.issuer is not None:
        yield await issuer_finding(settings)
    async for finding in google_findings(settings):
        yield finding
    for finding in home_findings(settings.home):
        yield finding
    yield await files_finding(settings)
    async for finding in _database(settings):
        yield finding
    hosted = settings.hosted_model
    yield await model_finding(hosted, wanted_models())
    for server in hosted.fallbacks if hosted else ():
        yield await fallback_finding(server)
    yield await rerank_finding(settings)
    yield await slack_finding(settings.slack)


def _configuration(settings: Settings) -> Finding:
    try:
        config = SystemConfigFile.open(settings.system_config_path)
    except SystemConfigInvalid as invalid:
        mend = "mend the file; a server that runs holds the last good one, docs/settings.md says what it takes"
        return wrong("configuration", str(invalid), mend)
    return Finding(part="configuration", state="ok", says=f"{config.path} can be used")


async def _database(settings: Settings) -> AsyncGenerator[Finding]:
    if settings.is_embedded and not settings.home.path.exists():
        yield programs_finding()
        return
    try:
        async with unmigrated_urls(settings) as urls:
            async for finding in logins_findings(urls):
                yield finding
            yield await migrations_finding(urls.app, embedded=settings.is_embedded)
            async for finding in background_findings(settings, urls.service):
                yield finding
            async for finding in heads_findings(settings, urls.service):
                yield finding
            async for finding in policies_findings(urls.service):
                yield finding
            yield await embeddings_finding(settings, urls.app)
            async for finding in vectors_findings(settings, urls.service):
                yield finding
    except SettingsInvalid as invalid:
        for problem in invalid.problems:
            yield wrong("database", problem, "set all four, or none of them for the embedded database")
    except (DatabaseError, HomeUnusable) as fault:
        yield wrong("database", str(fault), "see the server log it names, if any; another GLOW_HOME begins afresh")
