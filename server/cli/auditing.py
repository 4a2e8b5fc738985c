"""The work of `glow audit export|head|prove`: calls through the gate, as the hand that is named."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from domain.kernel import CallId, Principal
from server.cli.failure import CommandFailed
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, plain_json, say, why_not
from server.cli.running import run
from server.exports import exported
from server.hub import Hub
from tools.outcomes import CallOutcome, CallRequest, Json


def ask(tool: str, arguments: Json, organization: str, user: str | None, output: Path | None) -> bool:
    """Make the call and print its result as JSON; False when it was refused."""
    outcome = run(_asked(tool, arguments, organization, user))
    if outcome.outcome != "done":
        complain(f"glow: {why_not(outcome)}")
        return False
    text = plain_json(json.dumps(outcome.result, ensure_ascii=False, indent=2))
    if output is None:
        say(text)
    else:
        with _opened(output) as file:
            file.write(text.encode() + b"\n")
    return True


def export(organization: str, user: str | None, output: Path | None, asked: Json) -> bool:
    """Write the rows; False when the call was refused."""
    outcome = run(_exported(organization, user, output, asked))
    if outcome.outcome != "done":
        complain(f"glow: {why_not(outcome)}")
    return outcome.outcome == "done"


async def _asked(tool: str, arguments: Json, organization: str, user: str | None) -> CallOutcome:
    async with acting_hub() as hub:
        return await _call(hub, await acting(hub, organization, user), tool, arguments)


async def _exported(organization: str, user: str | None, output: Path | None, asked: Json) -> CallOutcome:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        outcome = await _call(hub, principal, "audit_export", asked)
        if outcome.result is not None:
            await _write(hub, principal, outcome.result, output)
    return outcome


async def _write(hub: Hub, principal: Principal, export: Json, output: Path | None) -> None:
    lines = exported(
        lambda: hub.transactions.session(principal.organization_id, principal.principal_id),
        principal.organization_id,
        export,
        hub.clock(),
    )
    with ExitStack() as stack:
        # Byte for byte, also at a terminal: what was changed on its way could not be checked.
        file = sys.stdout.buffer if output is None else stack.enter_context(_opened(output))
        async for some in lines:
            file.write(some)
        file.flush()


async def _call(hub: Hub, principal: Principal, tool: str, arguments: Json) -> CallOutcome:
    return await hub.gate.call(CallRequest(call_id=CallId(hub.new_id()), tool=tool, arguments=arguments), principal)


def _opened(output: Path) -> BinaryIO:
    try:
        return output.open("wb")
    except OSError as error:
        raise CommandFailed(f"{output}: {error.strerror}") from error
