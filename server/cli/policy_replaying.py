"""`glow policy replay`: one policy_replay through the gate, and what a proposed policy would change laid out."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import typer

from domain.kernel import CallId
from domain.policies.model import own_policies
from domain.resources import resource_folder
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope
from tools.policy import Policies, PolicyFilesError, Rulebook
from tools.policy.files import read_policy_texts
from tools.policy.own import accept

DIGEST_SHOWN = 12


def usable(folder: Path | None, add: str | None) -> None:
    """Whether the proposal is one: before anything is opened, asked or recorded.

    Raises  BadParameter: the folder's policies cannot be used, or the one to be added is none of an organization's own.
    """
    with _refused("--policies"):
        firm = Policies.load(folder or resource_folder("manifests") / "policies")
    if add is not None:
        with _refused("--add"):
            Rulebook(firm).checked(own_policies([accept(add)[0]]))


@contextmanager
def _refused(option: str) -> Generator[None]:
    try:
        yield
    except PolicyFilesError as fault:
        raise typer.BadParameter("; ".join(fault.faults), param_hint=option) from None


def replay(folder: Path | None, narrowed: Json, organization: str, user: str | None, *, as_json: bool) -> bool:
    """Replay and print; False when that was refused. `narrowed`: from, to and limit, as the tool takes them.

    Raises  PolicyFilesError: the folder is none of policies.
    """
    asked = dict(narrowed) if folder is None else {**narrowed, "policies": read_policy_texts(folder)}
    outcome = run(_ask(asked, organization, user))
    found = outcome.result
    if as_json:
        say_json(envelope(outcome) if found is None else found)
    elif found is None:
        complain(f"glow: {why_not(outcome)}")
    else:
        _print(found, outcome.duration_ms / 1000)
    return found is not None


async def _ask(asked: Json, organization: str, user: str | None) -> CallOutcome:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        request = CallRequest(call_id=CallId(hub.new_id()), tool="policy_replay", arguments=asked)
        return await hub.gate.call(request, principal)


def _print(found: Json, seconds: float) -> None:
    proposed = cast(Json, found["proposed"])
    which = "The policies in force" if proposed["in_force"] else "The proposed policies"
    say(f"{which} ({_short(proposed['digest'])}), asked again about {found['calls']:,} calls:")
    say(f"{found['verdicts']:8,} verdicts that policy reached, of which")
    say(f"{found['same']:8,} would be the same,")
    say(f"{found['changed']:8,} would be another decision,")
    say(f"{found['reasons_changed']:8,} the same decision for other reasons.")
    if found["already_so"]:
        say(f"{found['already_so']:8,} of these changes the policies in force make already.")
    _print_not_decided(cast(Json, found["not_decided"]))
    _print_digests(_listed(found, "recorded_under"))
    _print_changes(found)
    rate = cast(int, found["verdicts"]) / max(seconds, 0.001)
    say(f"\n{found['verdicts']:,} verdicts in {seconds:.1f} s ({rate:,.0f} a second).")


def _print_not_decided(apart: Json) -> None:
    """What cannot be decided again is said, not guessed."""
    for each in _listed(apart, "lacking"):
        facts = ", ".join(cast("list[str]", each["facts"]))
        say(f"{each['verdicts']:8,} cannot be decided again: recorded without {facts}.")
    if apart["unreadable"]:
        say(f"{apart['unreadable']:8,} cannot be decided again: their facts are none that this version knows.")
    if apart["before_policy"]:
        say(f"{apart['before_policy']:8,} calls were refused before policy was asked, and are left aside.")
    if apart["without_verdict"]:
        say(f"{apart['without_verdict']:8,} calls reached no verdict: an unknown tool, or unreadable arguments.")


def _print_digests(under: list[Json]) -> None:
    if not [each for each in under if not each["in_force"]]:
        return
    say("\nRecorded under:")
    rows = [
        (_named(each), f"{each['verdicts']:,}", f"{each['changed']:,}", f"{each['reasons_changed']:,}")
        for each in under
    ]
    say_table(("policies", "verdicts", "other decision", "other reasons"), rows)


def _named(under: Json) -> str:
    return _short(under["digest"]) + (" (in force)" if under["in_force"] else "")


def _print_changes(found: Json) -> None:
    groups, differences = _listed(found, "by_tool_and_role"), _listed(found, "differences")
    if not groups:
        say("\nNothing would change.")
        return
    say("\nWhat would change, by tool and role:")
    rows = [
        (str(each["tool"]), str(each["role"] or "none"), str(each["from"]), str(each["to"]), f"{each['verdicts']:,}")
        for each in groups
    ]
    say_table(("tool", "role", "was", "would be", "verdicts"), rows)
    if differences:
        say("\nThe calls, oldest first:")
        say_table(("call", "tool, role, door", "was", "would be"), map(_row, differences))
    if found["differences_left_out"]:
        say(f"and {found['differences_left_out']:,} more; --limit lists them.")


def _row(difference: Json) -> tuple[str, str, str, str]:
    when = str(difference["time"])[:19] + (" (when executed)" if difference["at_execution"] else "")
    who = f"{difference['tool']}, {difference['role'] or 'none'}, {difference['door']}"
    return f"{difference['call_id']} {when}", who, _told(difference["before"]), _told(difference["after"])


def _told(told: object) -> str:
    verdict = cast(Json, told)
    return f"{verdict['decision']}: {', '.join(cast('list[str]', verdict['reasons']))}"


def _short(digest: object) -> str:
    return "none" if digest is None else str(digest)[:DIGEST_SHOWN]


def _listed(shown: Json, name: str) -> list[Json]:
    return cast("list[Json]", shown[name])
