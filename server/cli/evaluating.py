"""The work of `glow eval`: a set's documents are found or taken in, its questions asked, figures kept and compared."""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

from domain.kernel import DomainError, Principal, Role, utc_now
from knowledge.evaluation.judged import JudgedSet, SetUnreadable
from knowledge.model import SearchMode
from server.cli.failure import CommandFailed
from server.cli.opening import LOCAL_URL, acting, without_doors
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from server.database.connection import connected
from server.database.provision import provided
from server.evaluation.answers import measure_answers
from server.evaluation.recording import Measured, record
from server.evaluation.retrieval import SearchRefused, measure_retrieval
from server.evaluation.scratch import ScratchFailed, found_scratch, stored_in, take_in
from server.evaluation.sets import DEMO, DEMO_ORGANIZATION, judged_set
from server.hub import Hub, HubOptions, open_hub
from server.logins import DatabaseUrls
from server.settings import load_settings
from server.storage.choosing import storage_of
from tools.outcomes import CallOutcome, Json, envelope

Measure = Callable[[Hub, Principal, JudgedSet, Callable[[], None]], Awaitable[Measured]]

SMALL = 0.00005
"""Below it a difference is none: figures are shown to four places."""


def retrieval(
    named: str, organization: str | None, user: str | None, mode: SearchMode, k: int, *, as_json: bool
) -> bool:
    """Measure the search and say how it compares with the last time; False when a call was refused."""

    async def measure(hub: Hub, principal: Principal, judged: JudgedSet, progress: Callable[[], None]) -> Measured:
        return await measure_retrieval(hub, principal, judged, mode=mode, k=k, progress=progress)

    return _evaluate(named, organization, user, measure, as_json=as_json)


def answers(named: str, organization: str | None, user: str | None, agent: str | None, *, as_json: bool) -> bool:
    """Measure the agent's answers and say how they compare with the last time; False when a call was refused."""

    async def measure(hub: Hub, principal: Principal, judged: JudgedSet, progress: Callable[[], None]) -> Measured:
        return await measure_answers(hub, principal, judged, agent=agent, progress=progress)

    return _evaluate(named, organization, user, measure, as_json=as_json)


def _evaluate(named: str, organization: str | None, user: str | None, measure: Measure, *, as_json: bool) -> bool:
    try:
        judged = judged_set(named)
    except SetUnreadable as fault:
        raise CommandFailed(str(fault)) from fault
    outcome = run(_measured(judged, organization, user, measure))
    if as_json:
        say_json(outcome.result if outcome.outcome == "done" else envelope(outcome))
    elif outcome.result is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        _print(outcome.result)
    return outcome.outcome == "done"


async def _measured(judged: JudgedSet, organization: str | None, user: str | None, measure: Measure) -> CallOutcome:
    async with opened(judged, answering(judged, organization)) as (hub, slug):
        principal = await acting(hub, slug, user)
        async with hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            role = session.role or Role.READONLY
        try:
            measured = await measure(hub, principal, judged, progress_of(len(judged.queries)))
        except SearchRefused as refused:
            return refused.outcome
        except DomainError as refused:
            raise CommandFailed(str(refused)) from refused
        return await record(hub, principal, role, measured)


def answering(judged: JudgedSet, organization: str | None) -> str | None:
    """Whose documents are searched: the organization that is named, else the demo's for its set, else the set's own."""
    return DEMO_ORGANIZATION if organization is None and judged.name == DEMO else organization


@asynccontextmanager
async def opened(judged: JudgedSet, organization: str | None) -> AsyncGenerator[tuple[Hub, str]]:
    """The hub, and whose documents are searched: where no organization is named, those of the set's own corpus."""
    settings = without_doors(load_settings())
    local_url = settings.home.address() or LOCAL_URL
    options = HubOptions(storage=storage_of(settings))
    async with provided(settings) as urls, open_hub(settings, urls, settings.public_url or local_url, options) as hub:
        yield hub, organization or await _scratch(hub, urls, judged)


async def _scratch(hub: Hub, urls: DatabaseUrls, judged: JudgedSet) -> str:
    if urls.owner is None:
        raise CommandFailed(
            "the set's documents need an organization of their own, which takes the owner's login: set"
            " GLOW_OWNER_DATABASE_URL, or name one with --organization that holds them"
        )
    try:
        async with connected(urls.owner, application_name="glow eval") as owner:
            slug = await found_scratch(owner, judged, utc_now())
            there = await stored_in(owner, slug)
        taken = await take_in(hub, judged, slug, there, _taking)
    except (SetUnreadable, ScratchFailed) as fault:
        raise CommandFailed(str(fault)) from fault
    complain(f"{judged.name}: {len(taken)} documents taken in to the organization {slug}, of which it is all.")
    return slug


def _taking(document: str) -> None:
    if sys.stderr.isatty():
        complain(f"  taken in: {document}")


def progress_of(total: int) -> Callable[[], None]:
    """A word every hundred questions, where a person looks."""
    asked = 0

    def one_more() -> None:
        nonlocal asked
        asked += 1
        if sys.stderr.isatty() and (asked % 100 == 0 or asked == total):
            complain(f"  {asked} of {total} questions asked")

    return one_more


def _print(result: Json) -> None:
    now, last = cast(Json, result["evaluation"]), cast("Json | None", result.get("last"))
    conditions = ", ".join(f"{name} {value}" for name, value in sorted(cast(Json, now["conditions"]).items()))
    say(f"{now['kind']} over {now['set_name']} ({conditions})")
    if last is None:
        say_table(("measure", "now"), [(name, _shown(value)) for name, value in _figures(now).items()])
        say("It is the first of its kind: there is nothing to compare it with yet.")
        return
    before = _figures(last)
    rows = [
        (name, _shown(value), _shown(before.get(name)), _difference(value, before.get(name)))
        for name, value in _figures(now).items()
    ]
    say_table(("measure", "now", f"last ({str(last['measured_at'])[:16].replace('T', ' ')} UTC)", "difference"), rows)


def _figures(evaluation: Json) -> dict[str, float]:
    return cast("dict[str, float]", evaluation["figures"])


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) and abs(value) > 1 else f"{value:.4f}" if value < 2 else f"{value:.1f}"


def _difference(now: float, before: float | None) -> str:
    if before is None:
        return "-"
    difference = now - before
    return "same" if abs(difference) < SMALL else f"{difference:+.4f}" if abs(difference) < 2 else f"{difference:+.1f}"
