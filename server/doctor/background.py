"""Whether anybody takes jobs, and whether the record is sealed and its heads get to where they are sent."""

import asyncio
from collections.abc import AsyncGenerator

from domain.kernel import utc_now
from server.database.errors import DatabaseUnavailable
from server.database.inspection import BackgroundWork, background_work, sendings
from server.database.sendings import PlaceState
from server.database.workers import WorkersHeard
from server.demo.heads import heads_of
from server.doctor.finding import Finding, wrong
from server.heads.place import Place
from server.heads.places import places_of, secrets_of
from server.ledger_keys import KeySource, LedgerKeyUnusable
from server.settings import Settings
from server.system_config import SystemConfigFile, SystemConfigInvalid


async def background_findings(settings: Settings, service_url: str) -> AsyncGenerator[Finding]:
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
        return wrong("workers", f"jobs wait, and none takes them{heard}", mend)
    return Finding(part="workers", state="note", says=f"none takes jobs{heard}; no job waits")


def _ledger(source: KeySource, heard: WorkersHeard) -> Finding:
    """Whether one key signs the ledger, and whether it is that of this machine."""
    if heard.sealing_fault is not None:
        mend = "give every worker the same GLOW_LEDGER_KEY, _FILE or _VAULT_PATH (docs/ledger.md)"
        return wrong("ledger", heard.sealing_fault, mend)
    try:
        key = source.found()
    except LedgerKeyUnusable as unusable:
        return wrong("ledger", str(unusable), "mend that setting; until then nothing is sealed, and nothing lost")
    if key is None:
        says = "no key to sign it by is here yet: the first worker makes one in GLOW_HOME"
        return Finding(part="ledger", state="note", says=says)
    if heard.signing and key.key_id not in heard.signing:
        says = f"a worker on this machine would sign by key {key.key_id}, those that run sign by {heard.signing[0]}"
        return wrong("ledger", says, "set the same GLOW_LEDGER_KEY here as there, or rotate it (docs/ledger.md)")
    return Finding(part="ledger", state="ok", says=f"signed by key {key.key_id}")


async def heads_findings(settings: Settings, service_url: str) -> AsyncGenerator[Finding]:
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
        return wrong("heads", says, "mend the place, or `heads` in the configuration (docs/ledger.md)")
    return Finding(part="heads", state="ok", says=f"of {state.reached} organizations are at {place.name}")
