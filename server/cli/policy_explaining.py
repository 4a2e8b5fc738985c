"""`glow policy explain`: one autonomy_query through the gate, its answer laid out for a person."""

from typing import cast

from domain.kernel import CallId
from server.cli.arguments import given_json
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from tools.outcomes import CallOutcome, CallRequest, Json, envelope

LEFT_ASIDE = ("role", "kind", "mode", "door", "level", "attended", "tool", "effect")
"""What the first line says already of all that policy saw."""


def explain(
    tool: str, arguments: str | None, supposed: Json, organization: str, user: str | None, *, as_json: bool
) -> bool:
    """Print why the call would get its verdict; False when that was refused, or there is no such tool."""
    asked: Json = {"tool": tool, "suppose": supposed}
    if arguments is not None:
        asked["arguments"] = given_json(arguments)
    outcome = run(_ask(asked, organization, user))
    told = None if outcome.result is None else cast(Json, outcome.result["tool"])
    if as_json:
        say_json(envelope(outcome) if told is None else told)
    elif told is None:
        complain(f"glow: {why_not(outcome)}")
    elif not told["known"]:
        complain(f"glow: there is no tool named {tool!r}")
    else:
        _print(tool, user, told)
    return told is not None and bool(told["known"])


async def _ask(asked: Json, organization: str, user: str | None) -> CallOutcome:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        request = CallRequest(call_id=CallId(hub.new_id()), tool="autonomy_query", arguments=asked)
        return await hub.gate.call(request, principal)


def _print(tool: str, user: str | None, told: Json) -> None:
    explained = cast(Json, told["explained"])
    saw = cast(Json, explained["saw"])
    whose = "a person's own hand" if saw["mode"] == "person" else "the agent"
    attended = "attended" if saw["attended"] else "unattended"
    who = f"{user or 'the service account'} ({saw['role'] or 'no membership'})"
    say(f"{tool} ({saw['effect']}) for {who}, by {whose}, at {saw['door']}, at {saw['level']}, {attended}:")
    say(f"{told['decision']}{_decider(explained)}")
    for because in _listed(explained, "because"):
        say(f"  {_words(because)}")
    _print_doubts(explained)
    _print_facts(saw, cast("list[str]", explained["mattered"]))
    rows = [_row(change) for change in _listed(explained, "would_change")]
    if rows:
        say("\nWhat would change that, all else being as it is:")
        say_table(("fact", "if it were", "then", "because"), rows)
    else:
        say("\nNo single fact would change that.")


def _decider(explained: Json) -> str:
    if "needs_role" not in explained:
        return ""
    eyes = ", and not whoever asks" if explained["four_eyes"] else ""
    return f": {explained['needs_role']} or above decides{eyes}"


def _words(because: Json) -> str:
    where = f", {because['file']}" if "file" in because else ""
    return f"{because.get('says', because['policy'])} ({because['policy']}{where})"


def _print_doubts(explained: Json) -> None:
    if not explained["arguments_fit"]:
        say("The arguments are not the tool's and were left aside: the call itself would be invalid.")
    for name in cast("list[str]", explained["missing"]):
        say(f"There is no such {name.replace('_', ' ')} for whoever asks: the call itself would be invalid.")


def _print_facts(saw: Json, mattered: list[str]) -> None:
    facts = [name for name in mattered if name not in LEFT_ASIDE]
    say(f"It hangs on: {', '.join(mattered) or 'nothing that could be otherwise'}.")
    for name in facts:
        say(f"  {name}: {_word(saw[name])}")


def _row(change: Json) -> tuple[str, str, str, str]:
    because = " ".join(str(each.get("says", each["policy"])) for each in _listed(change, "because"))
    to = ", ".join(_word(value) for value in cast("list[object]", change["to"]))
    return str(change["fact"]), to, str(change["decision"]), because


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _listed(shown: Json, name: str) -> list[Json]:
    return cast("list[Json]", shown[name])
