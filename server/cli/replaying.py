"""The work of `glow runs replay`: a run of one's own told again, and the first event that differs laid out."""

from uuid import UUID

from agent.conversations.refusals import RunNotFound, UnknownAgent
from agent.events import RunFrame
from agent.json_values import mapping, parsed
from agent.replay.model import Divergence, Replayed
from agent.replay.reading import NotReplayable
from agent.replay.service import Replays
from agent.run_options import RunOptions
from domain.kernel import RunId
from server.cli.failure import CommandFailed
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, say, say_json
from server.cli.running import run
from server.database.conversations import PostgresSessions
from server.operated import bounded
from tools.outcomes import Json

SHOWN = 600
"""Characters that are shown of an event."""


def replay(run_id: UUID, organization: str, user: str, *, as_json: bool) -> bool:
    """Replay and print; False when something came out otherwise.

    Raises  CommandFailed: there is no such run of that person's, or it cannot be replayed.
    """
    replayed = run(_replayed(RunId(run_id), organization, user))
    if as_json:
        say_json(_json(replayed))
    else:
        _print(replayed)
    return replayed.divergence is None


async def _replayed(run_id: RunId, organization: str, user: str) -> Replayed:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        replays = Replays(
            PostgresSessions(hub.transactions),
            hub.rules.personas,
            lambda budget: bounded(budget, hub.config.current.runs),
            RunOptions().history_limit,
        )
        try:
            return await replays.replay(principal, run_id)
        except RunNotFound as missing:
            raise CommandFailed(f"{user} has no run {run_id}") from missing
        except NotReplayable as reason:
            raise CommandFailed(f"run {run_id} cannot be replayed: {reason}") from reason
        except UnknownAgent as gone:
            raise CommandFailed(
                f"run {run_id} cannot be replayed: it did not keep what it could spend, and its persona is gone"
            ) from gone


def _print(replayed: Replayed) -> None:
    found = replayed.divergence
    if found is None:
        say(f"{replayed.same} events, each the same byte for byte ({replayed.status}).")
        return
    complain(f"glow: event {found.sequence} comes out otherwise; the {replayed.same} before it are the same.")
    if replayed.todays_limits:
        complain(
            "glow: it did not keep what it could spend: where its persona or a setting changed since, that may be why."
        )
    say(f"recorded: {_shown(found.recorded)}")
    say(f"replayed: {_shown(found.replayed)}")


def _shown(frame: RunFrame | None) -> str:
    if frame is None:
        return "nothing"
    return frame.data if len(frame.data) <= SHOWN else f"{frame.data[:SHOWN]}…"


def _json(replayed: Replayed) -> Json:
    return {
        "run_id": str(replayed.run_id),
        "status": replayed.status,
        "same": replayed.same,
        "limits": "today" if replayed.todays_limits else "recorded",
        "divergence": None if replayed.divergence is None else _divergence(replayed.divergence),
    }


def _divergence(found: Divergence) -> Json:
    return {
        "sequence": found.sequence,
        "recorded": None if found.recorded is None else mapping(parsed(found.recorded.data)),
        "replayed": None if found.replayed is None else mapping(parsed(found.replayed.data)),
    }
