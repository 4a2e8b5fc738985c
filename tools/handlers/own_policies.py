"""An organization's own policies as tools: tried on what happened, put in force and taken back by hand."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar

from domain.activity.model import Span
from domain.kernel import DomainError
from domain.policies.model import NO_POLICIES, OwnPolicies, OwnPolicy, PolicyChangeId
from domain.policies.service import PolicyNotFound
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.policy import PolicyFilesError, Rulebook
from tools.policy.own import accept
from tools.policy.replaying import Proposal, Replay
from tools.policy.rulebook import own_digest_of
from tools.views.policies import differences_json, policy_change_json
from tools.work import CallContext, Handler

LAST_CALLS = 10_000
"""How far back a policy is tried before it is put in force; `policy_replay` goes to the beginning."""
_SETS_KEPT = 32


class PolicyAdd(Arguments):
    text: str
    reason: str
    replace: bool = False


class PolicyRemove(Arguments):
    policy_id: str
    reason: str


class PolicyTry(Arguments):
    text: str | None = None
    remove: str | None = None
    calls: int = LAST_CALLS
    limit: int = 20


class PolicyUnusable(DomainError):
    """What is proposed is no set of policies, or none that an organization may have."""

    code: ClassVar[str] = "policy_unusable"


def own_policy_handlers(rulebook: Rulebook) -> Mapping[str, Handler[Any]]:
    """The tools, beside the policies that hold for every organization."""

    async def policy_add(arguments: PolicyAdd, context: CallContext) -> Json:
        """Effect  writes organization_policies.

        Raises  PolicyUnusable, PolicyExists, TooManyPolicies.
        """
        # From here on nobody changes the set that the policy was tried beside.
        await context.work.policies.lock()
        policy = await accepted(rulebook, context, arguments.text)
        proposal = Proposal(rulebook=rulebook, add=policy)
        tried = await _tried(proposal, rulebook, context, calls=LAST_CALLS, listed=0)
        change = await context.work.policies.put(
            policy,
            arguments.reason,
            replace=arguments.replace,
            change_id=PolicyChangeId(context.new_id()),
            by=context.principal.principal_id,
            now=context.now,
        )
        return {"policy": policy_change_json(change), "tried": _counts_json(tried)}

    async def policy_remove(arguments: PolicyRemove, context: CallContext) -> Json:
        """Effect  writes organization_policies.

        Raises  PolicyNotFound.
        """
        change = await context.work.policies.remove(
            arguments.policy_id,
            arguments.reason,
            change_id=PolicyChangeId(context.new_id()),
            by=context.principal.principal_id,
            now=context.now,
        )
        return {"policy": policy_change_json(change)}

    async def policy_try(arguments: PolicyTry, context: CallContext) -> Json:
        """What a change would have decided otherwise, of the newest calls.

        Raises  PolicyUnusable, PolicyNotFound.
        """
        if arguments.text is None and arguments.remove is None:
            raise PolicyUnusable("Nothing is proposed: give text, or remove, or both.")
        proposal = await edited(rulebook, context, text=arguments.text, remove=arguments.remove)
        tried = await _tried(proposal, rulebook, context, calls=arguments.calls, listed=arguments.limit)
        return {**_counts_json(tried), **differences_json(tried.tally)}

    return {
        "policy_add": Handler(arguments=PolicyAdd, work=policy_add),
        "policy_remove": Handler(arguments=PolicyRemove, work=policy_remove),
        "policy_try": Handler(arguments=PolicyTry, work=policy_try),
    }


async def edited(
    rulebook: Rulebook, context: CallContext, *, text: str | None = None, remove: str | None = None
) -> Proposal:
    """The organization's policies with one more, or one less; checked beside those in force.

    Raises  PolicyUnusable; PolicyNotFound: what is to be removed is not there.
    """
    if remove is not None and remove not in (await context.work.policies.in_force()).texts:
        raise PolicyNotFound(remove)
    policy = None if text is None else await accepted(rulebook, context, text)
    return Proposal(rulebook=rulebook, add=policy, remove=remove)


async def accepted(rulebook: Rulebook, context: CallContext, text: str) -> OwnPolicy:
    """The policy that the text is, fit to stand beside those in force.

    Raises  PolicyUnusable.
    """
    try:
        policy, tools = accept(text)
        faults = [f"it has the @id {policy.id}, which is a firm-wide policy's"] if _taken(rulebook, policy.id) else []
        faults += [f"it names {name}, and there is no such tool" for name in tools if not await _is_tool(name, context)]
        if faults:
            raise PolicyFilesError(faults)
        rulebook.checked((await context.work.policies.in_force()).having(policy))
    except PolicyFilesError as faulty:
        raise PolicyUnusable("; ".join(faulty.faults)) from faulty
    return policy


def _taken(rulebook: Rulebook, policy_id: str) -> bool:
    return policy_id in {rule.id for rule in rulebook.firm.rules}


async def _is_tool(name: str, context: CallContext) -> bool:
    return await context.what_if(name, None) is not None


async def replayed(replay: Replay, period: Span, context: CallContext) -> None:
    """Let the replay decide every verdict of a period again, each beside the policies that it was decided by."""
    sets = _Sets(context)
    async for page in context.work.activity.verdicts(period):
        for recorded in page:
            replay.take(recorded, await sets.of(recorded.policy_digest))


async def _tried(proposal: Proposal, in_force: Rulebook, context: CallContext, *, calls: int, listed: int) -> Replay:
    """Raises  PolicyUnusable: on a call that was made it could not be evaluated."""
    replay = Replay(proposal, in_force, listed=listed)
    await replayed(replay, await context.work.activity.last_calls(calls, context.now), context)
    if replay.tally.failed:
        raise PolicyUnusable(f"it cannot be evaluated on {replay.tally.failed} of the calls that were made")
    return replay


class _Sets:
    """The organization's own policies by the digest that its events were recorded with; the last ones are kept."""

    def __init__(self, context: CallContext) -> None:
        self._policies = context.work.policies
        self._kept: OrderedDict[bytes, OwnPolicies | None] = OrderedDict()

    async def of(self, policy_digest: bytes | None) -> OwnPolicies | None:
        """None: a set that the organization never had."""
        digest = own_digest_of(policy_digest)
        if digest is None:
            return NO_POLICIES
        if digest not in self._kept:
            self._kept[digest] = await self._policies.at(digest)
            if len(self._kept) > _SETS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[digest]


def _counts_json(replay: Replay) -> Json:
    tally = replay.tally
    return {
        "calls": tally.calls,
        "verdicts": tally.verdicts,
        "same": tally.same,
        "changed": tally.changed,
        "reasons_changed": tally.reasons_changed,
        "not_decided": tally.unreadable + tally.undecided.total(),
    }
