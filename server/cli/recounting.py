"""`glow autonomy recompute`: the agent's calls counted again from the ledger alone, beside what is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from domain.earned.model import Progress, ToolRecord
from domain.earned.recounting import NotAnExport, Recount
from domain.kernel import CallId, Principal
from server.cli.failure import CommandFailed
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from server.exports import exported
from server.hub import Hub
from tools.outcomes import CallOutcome, CallRequest, Json
from tools.views.earned import record_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What is stored, and what the ledger comes to."""

    stored: Sequence[ToolRecord]
    counted: Sequence[ToolRecord]
    progress: Progress

    @property
    def tools(self) -> Sequence[str]:
        return sorted({record.tool for record in (*self.stored, *self.counted)})

    @property
    def differing(self) -> Sequence[str]:
        return [tool for tool in self.tools if _of(self.stored, tool) != _of(self.counted, tool)]


def recompute(organization: str, user: str, export: Path | None, *, as_json: bool) -> bool:
    """Compare and print; False where they differ, or where it was refused."""
    found = run(_compared(organization, user, export))
    if isinstance(found, CallOutcome):
        complain(f"glow: {why_not(found)}")
        return False
    if as_json:
        say_json(_json(found))
    else:
        _print(found)
    return not found.differing


async def _compared(organization: str, user: str, export: Path | None) -> Compared | CallOutcome:
    async with acting_hub() as hub:
        who = await acting(hub, organization, user)
        # First what is stored: the ledger only grows beyond it.
        async with hub.transactions.session(who.organization_id, who.principal_id) as session:
            stored, progress = await session.work.earned.records()
        recount = await _exported(hub, who) if export is None else _read(export)
    if isinstance(recount, CallOutcome):
        return recount
    if recount.size < progress.through:
        counted_from = f"what is stored was counted from {progress.through}"
        raise CommandFailed(f"the export has {recount.size} events, and {counted_from}: export again")
    if progress.rules is None:
        return Compared(stored=(), counted=(), progress=progress)
    counted = recount.records(progress.rules, progress.through)
    return Compared(stored=stored, counted=counted, progress=progress)


async def _exported(hub: Hub, who: Principal) -> Recount | CallOutcome:
    """The ledger as it is exported: a call like any other, for whoever may."""
    request = CallRequest(call_id=CallId(hub.new_id()), tool="audit_export", arguments={"payloads": True})
    outcome = await hub.gate.call(request, who)
    if outcome.result is None:
        return outcome
    recount = Recount()
    session = partial(hub.transactions.session, who.organization_id, who.principal_id)
    async for some in exported(session, who.organization_id, outcome.result, hub.clock()):
        for line in some.splitlines():
            recount.take(line)
    return recount


def _read(export: Path) -> Recount:
    recount = Recount()
    try:
        with export.open("rb") as file:
            for line in file:
                recount.take(line)
    except NotAnExport as fault:
        raise CommandFailed(f"{export}: {fault}") from fault
    except OSError as error:
        raise CommandFailed(f"{export}: {error.strerror}") from error
    return recount


def _print(found: Compared) -> None:
    progress = found.progress
    if progress.rules is None:
        say("Nothing was counted yet.")
        return
    say(f"Counted again from the first {progress.through:,} events of the ledger:")
    rows = [
        (tool, _told(found.stored, tool), _told(found.counted, tool), "DIFFERS" if tool in found.differing else "same")
        for tool in found.tools
    ]
    say_table(("tool", "stored", "from the ledger", ""), rows)
    say("\nThe ledger gives what is stored." if not found.differing else "\nTHE LEDGER DOES NOT GIVE WHAT IS STORED.")


def _told(records: Sequence[ToolRecord], tool: str) -> str:
    record = _of(records, tool)
    if record is None:
        return "nothing"
    tally = record.tally
    wrong = f"{tally.rejected} rejected, {tally.failed} failed, {tally.reversed} reversed"
    return f"{tally.approved} approved, {wrong}: {tally.bound:.6f}"


def _json(found: Compared) -> Json:
    def shown(records: Sequence[ToolRecord]) -> list[Json]:
        return [record_json(record) for record in records]

    return {
        "same": not found.differing,
        "through": found.progress.through,
        "differing": list(found.differing),
        "stored": shown(found.stored),
        "counted": shown(found.counted),
    }


def _of(records: Sequence[ToolRecord], tool: str) -> ToolRecord | None:
    return next((record for record in records if record.tool == tool), None)
