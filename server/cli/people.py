"""The work of `glow privacy`: calls through the gate, by a person's own hand."""

import os
from pathlib import Path
from typing import BinaryIO, cast

from domain.kernel import CallId, Principal
from server.cli.failure import CommandFailed
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from server.hub import Hub
from server.person_archive import archived
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.views.privacy import erasure_json

OWNERS_ALONE = 0o600


def export(organization: str, user: str, person: str | None, out: Path | None) -> bool:
    """Write the archive; False when the call was refused."""
    outcome, path = run(_exported(organization, user, person, out))
    if outcome.outcome != "done":
        complain(f"glow: {why_not(outcome)}")
        return False
    say(f"Written to {path}.")
    return True


def erase(organization: str, user: str, person: str, *, as_json: bool) -> bool:
    """Ask for it; False when that was refused."""
    outcome, shown = run(_erased(organization, user, person))
    waits = outcome.outcome == "waiting"
    if as_json:
        say_json(shown)
    elif waits:
        approval = cast(Json, shown["approval"])
        say(f"It waits for a second {approval['needs_role']}, who decides it at {approval['url']}")
        say(f"or by: glow approvals approve {approval['id']} --organization {organization} --user EMAIL")
    else:
        complain(f"glow: {why_not(outcome)}")
    return waits


def list_erasures(organization: str, user: str, *, as_json: bool) -> None:
    """Those that the person may see, newest first."""
    items = run(_listed(organization, user))
    if as_json:
        say_json({"items": items})
    elif not items:
        say("Nobody was erased, or you may not see it.")
    else:
        say_table(("id", "state", "person", "asked by", "rows removed"), [_row(item) for item in items])


async def _exported(
    organization: str, user: str, person: str | None, out: Path | None
) -> tuple[CallOutcome, Path | None]:
    async with acting_hub() as hub:
        hand = await acting(hub, organization, user)
        own = person is None or person.casefold() == user.casefold()
        arguments: Json = {} if own else {"person": person}
        outcome = await _call(hub, hand, "privacy_export_own" if own else "privacy_export", arguments)
        path = None
        if outcome.result is not None:
            path = out or Path(f"personal-data-{outcome.result['user_id']}.zip")
            await _write(hub, hand, outcome.call_id, outcome.result, organization, path)
    return outcome, path


async def _write(hub: Hub, hand: Principal, call_id: CallId, export: Json, organization: str, path: Path) -> None:
    content = archived(
        lambda: hub.transactions.session(hand.organization_id, hand.principal_id),
        call_id,
        export,
        organization,
        hub.clock(),
    )
    with _opened(path) as file:
        async for some in content:
            file.write(some)


async def _erased(organization: str, user: str, person: str) -> tuple[CallOutcome, Json]:
    async with acting_hub() as hub:
        outcome = await _call(hub, await acting(hub, organization, user), "privacy_erase", {"person": person})
        url = None if outcome.approval is None else hub.approval_url(outcome.approval.approval_id)
        return outcome, envelope(outcome, approval_url=url)


async def _listed(organization: str, user: str) -> list[Json]:
    async with acting_hub() as hub:
        hand = await acting(hub, organization, user)
        async with hub.transactions.session(hand.organization_id, hand.principal_id) as session:
            return [erasure_json(each) for each in await session.work.privacy.list()]


async def _call(hub: Hub, hand: Principal, tool: str, arguments: Json) -> CallOutcome:
    return await hub.gate.call(CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments), hand)


def _opened(path: Path) -> BinaryIO:
    """A file that its owner alone may read."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNERS_ALONE), "wb")
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from error


def _row(item: Json) -> tuple[str, ...]:
    removed = cast("dict[str, int]", item["removed"])
    return (
        *(str(item[name]) for name in ("erasure_id", "state", "user_id", "requested_by")),
        str(sum(removed.values())),
    )
