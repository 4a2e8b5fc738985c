"""The time machine as a tool: the organization's recorded calls, decided again under a proposed policy."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from domain.activity.model import Span
from domain.kernel import DomainError
from domain.moments import beginning_of, end_of
from tools.handlers.arguments import Arguments
from tools.handlers.moments import Moment
from tools.handlers.own_policies import PolicyUnusable, edited, own_policy_handlers, replayed
from tools.outcomes import Json
from tools.policy import Policies, PolicyFilesError, Rulebook
from tools.policy.files import policy_files
from tools.policy.replaying import Proposal, Replay
from tools.views.policies import differences_json
from tools.work import CallContext, Handler


class PolicyReplay(Arguments):
    policies: dict[str, str] | None = None
    add: str | None = None
    remove: str | None = None
    since: Moment | None = Field(default=None, alias="from")
    until: Moment | None = Field(default=None, alias="to")
    limit: int = 100


class InvalidSpan(DomainError):
    """A day that there is not."""

    code: ClassVar[str] = "invalid_period"

    def __init__(self) -> None:
        super().__init__("from, to: there is no such day")


def policy_handlers(in_force: Rulebook) -> Mapping[str, Handler[Any]]:
    """The tools that try policies and change an organization's own, beside those in force."""

    async def policy_replay(arguments: PolicyReplay, context: CallContext) -> Json:
        """What the proposed policies would have decided otherwise; without any, those in force.

        Raises  PolicyUnusable.
        """
        rulebook = in_force if arguments.policies is None else Rulebook(_read(arguments.policies))
        edit = await edited(in_force, context, text=arguments.add, remove=arguments.remove)
        proposal = replace(edit, rulebook=rulebook)
        replay = Replay(proposal, in_force, listed=arguments.limit)
        await replayed(replay, _span(arguments, context.now), context)
        return _replay_json(replay, in_force.of(await context.work.policies.in_force()).digest)

    return {
        "policy_replay": Handler(arguments=PolicyReplay, work=policy_replay),
        **own_policy_handlers(in_force),
    }


def _span(arguments: PolicyReplay, now: datetime) -> Span:
    """What happens meanwhile, this very call among it, is not replayed."""
    since, until = arguments.since, arguments.until
    try:
        return Span(
            since=None if since is None else beginning_of(since),
            until=now if until is None else min(end_of(until), now),
        )
    except OverflowError:
        raise InvalidSpan from None


def _read(texts: Mapping[str, str]) -> Policies:
    try:
        return Policies.of(policy_files(texts))
    except PolicyFilesError as faulty:
        raise PolicyUnusable("; ".join(faulty.faults)) from faulty


def _replay_json(replay: Replay, in_force: bytes) -> Json:
    """`in_force`: the digest of the policies that decide the organization's calls now."""
    tally, proposal = replay.tally, replay.proposal
    unchanged = proposal == Proposal(rulebook=replay.in_force)
    return {
        "proposed": {"digest": proposal.rulebook.firm.digest.hex(), "in_force": unchanged},
        "calls": tally.calls,
        "verdicts": tally.verdicts,
        "same": tally.same,
        "changed": tally.changed,
        "reasons_changed": tally.reasons_changed,
        "already_so": tally.already,
        "not_decided": {
            "before_policy": tally.before_policy,
            "without_verdict": tally.without_verdict,
            "unreadable": tally.unreadable,
            "lacking": [{"facts": list(facts), "verdicts": n} for facts, n in sorted(tally.undecided.items())],
        },
        "recorded_under": _digests_json(replay, in_force),
        **differences_json(tally),
    }


def _digests_json(replay: Replay, in_force: bytes) -> list[Json]:
    """The sets of policies that the calls were decided under, most of them first."""
    by_count = sorted(replay.tally.digests.items(), key=lambda held: -held[1].verdicts)
    return [
        {
            "digest": None if digest is None else digest.hex(),
            "in_force": digest == in_force,
            "verdicts": under.verdicts,
            "changed": under.changed,
            "reasons_changed": under.reasons_changed,
            "not_decided": under.undecided,
        }
        for digest, under in by_count
    ]
