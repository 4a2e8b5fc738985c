"""The time machine as a tool: the organization's recorded calls, decided again under a proposed policy."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from domain.activity.model import Span
from domain.kernel import DomainError
from domain.moments import beginning_of, end_of
from tools.handlers.arguments import Arguments
from tools.handlers.moments import Moment
from tools.outcomes import Json
from tools.policy import Policies, PolicyFilesError
from tools.policy.files import policy_files
from tools.policy.replaying import Difference, Replay, Tally, Told
from tools.work import CallContext, Handler


class PolicyReplay(Arguments):
    policies: dict[str, str] | None = None
    since: Moment | None = Field(default=None, alias="from")
    until: Moment | None = Field(default=None, alias="to")
    limit: int = 100


class PolicyUnusable(DomainError):
    """What is proposed is no set of policies."""

    code: ClassVar[str] = "policy_unusable"


class InvalidSpan(DomainError):
    """A day that there is not."""

    code: ClassVar[str] = "invalid_period"

    def __init__(self) -> None:
        super().__init__("from, to: there is no such day")


def policy_handlers(in_force: Policies) -> Mapping[str, Handler[Any]]:
    """The tools that try policies, beside those in force."""

    async def policy_replay(arguments: PolicyReplay, context: CallContext) -> Json:
        """What the proposed policies would have decided otherwise; without any, those in force.

        Raises  PolicyUnusable.
        """
        proposed = in_force if arguments.policies is None else _read(arguments.policies)
        replay = Replay(proposed, in_force, listed=arguments.limit)
        async for page in context.work.activity.verdicts(_span(arguments, context.now)):
            for recorded in page:
                replay.take(recorded)
        return _replay_json(replay)

    return {"policy_replay": Handler(arguments=PolicyReplay, work=policy_replay)}


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


def _replay_json(replay: Replay) -> Json:
    tally = replay.tally
    return {
        "proposed": {"digest": replay.proposed.digest.hex(), "in_force": replay.proposed is replay.in_force},
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
        "recorded_under": _digests_json(replay),
        "by_tool_and_role": _groups_json(tally),
        "differences": [_difference_json(difference) for difference in tally.differences],
        "differences_left_out": tally.changed + tally.reasons_changed - len(tally.differences),
    }


def _digests_json(replay: Replay) -> list[Json]:
    """The sets of policies that the calls were decided under, most of them first."""
    by_count = sorted(replay.tally.digests.items(), key=lambda held: -held[1].verdicts)
    return [
        {
            "digest": None if digest is None else digest.hex(),
            "in_force": digest == replay.in_force.digest,
            "verdicts": under.verdicts,
            "changed": under.changed,
            "reasons_changed": under.reasons_changed,
            "not_decided": under.undecided,
        }
        for digest, under in by_count
    ]


def _groups_json(tally: Tally) -> list[Json]:
    return [
        {"tool": group.tool, "role": group.role, "from": group.before, "to": group.after, "verdicts": count}
        for group, count in tally.groups.most_common()
    ]


def _difference_json(difference: Difference) -> Json:
    recorded = difference.recorded
    shown: Json = {
        "call_id": str(recorded.call_id),
        "time": recorded.time.isoformat(),
        "tool": recorded.tool,
        "role": None if recorded.role is None else str(recorded.role),
        "mode": recorded.mode,
        "door": recorded.door,
        "at_execution": not recorded.opens,
        "before": {"decision": recorded.decision, "reasons": list(recorded.reasons)},
        "after": _told_json(difference.after),
    }
    return shown if difference.in_force is None else {**shown, "in_force": _told_json(difference.in_force)}


def _told_json(told: Told) -> Json:
    return {"decision": told.decision, "reasons": list(told.reasons)}
