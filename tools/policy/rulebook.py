"""The firm-wide policies with an organization's own beside them: for each set of those the policies that decide.

What the organization adds only makes stricter, whatever it says: the engine lets a forbid override every permit. Three
kinds of calls it cannot reach, or not so; each is a rule about the tool alone, so that a verdict stays a function of
the policies and the situation.
"""

from collections import OrderedDict
from dataclasses import replace
from typing import cast

from domain.policies.model import OwnPolicies, UnreadPolicies
from tools.outcomes import Deny, NeedsApproval, Verdict
from tools.policy.cedar import Answer, Engine, EngineError
from tools.policy.files import PolicyFiles, PolicyFilesError, Rule
from tools.policy.own import own_rule
from tools.policy.situation import Situation
from tools.policy.verdicts import Asked, Policies

BEYOND = frozenset(
    {
        "policy_remove",
        "approval_expire",
        "approval_cancel",
        "approval_remind",
        "autonomy_review",
        "call_settle",
        "privacy_erase_step",
    }
)
"""What an organization's own policies do not reach: taking one back, or they could lock the firm out of it; writing
down what time or a person's word has decided already; and taking the agent's autonomy back."""
ANSWERS = frozenset({"approval_decide"})
"""An answer is a person's own: that a person be asked about it first would never end. It may be forbidden."""
NOT_LATER = frozenset({"document_upload", "document_content", "agent_handover"})
"""What is of use now or not at all: the file leaves with its request, the reader or the conversation is gone. Where
such a call would have to wait it is refused."""
FIRM_DIGEST_BYTES = 32

_SETS_KEPT = 64
_VERDICTS_KEPT = 1024


class Rulebook:
    """Which policies decide a call, by the organization's own that are in force; parsed once for each set of those."""

    def __init__(self, firm: Policies) -> None:
        """`firm`: those that hold for every organization."""
        self.firm = firm
        self._parsed: OrderedDict[bytes, Policies] = OrderedDict()

    def of(self, own: OwnPolicies | UnreadPolicies | None) -> Policies:
        """The policies for an organization with these of its own.

        Where they cannot be used they are not passed over: then every call that they may reach is denied, by the reason
        policy_error. So it is after an upgrade whose schema does not know a fact any more that one of them speaks of.
        """
        if own is None or (isinstance(own, OwnPolicies) and not own.policies):
            return self.firm
        found = self._parsed.get(own.digest)
        if found is None:
            if isinstance(own, UnreadPolicies):
                return self._unusable(own.digest, EngineError("the organization's own policies are not those recorded"))
            found = self._parsed[own.digest] = self._parse(own)
            if len(self._parsed) > _SETS_KEPT:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(own.digest)
        return found

    def checked(self, own: OwnPolicies) -> Policies:
        """The same of a set that is to be put in force.

        Raises  PolicyFilesError: the schema forbids what one of them says, or one is none of an organization's own.
        """
        files = self._files(own)
        return WithOwn(self.firm, Engine.parse(files), files.rules, files.digest)

    def _parse(self, own: OwnPolicies) -> Policies:
        try:
            return self.checked(own)
        except PolicyFilesError as fault:
            return self._unusable(own.digest, fault)

    def _unusable(self, digest: bytes, why: Exception) -> Policies:
        return WithOwn(self.firm, _NoEngine(why), self.firm.rules, self.firm.digest + digest)

    def _files(self, own: OwnPolicies) -> PolicyFiles:
        firm = cast(PolicyFiles, self.firm.files)
        rules: list[Rule] = [own_rule(policy.text).rule for policy in own.policies]
        return replace(
            firm,
            policies="\n".join([firm.policies, *(policy.text for policy in own.policies)]),
            rules=(*firm.rules, *rules),
            digest=firm.digest + own.digest,
        )


class WithOwn(Policies):
    """The firm-wide policies and an organization's own, decided together."""

    def __init__(self, firm: Policies, engine: Asked, rules: tuple[Rule, ...], digest: bytes) -> None:
        super().__init__(engine=engine, rules=rules, digest=digest, kept=_VERDICTS_KEPT)
        self._firm = firm

    def decide(self, situation: Situation) -> Verdict:
        """As the firm-wide policies decide, or more strictly."""
        if situation.tool in BEYOND:
            return self._firm.decide(situation)
        verdict = super().decide(situation)
        return self._asked(situation, verdict) if isinstance(verdict, NeedsApproval) else verdict

    def _asked(self, situation: Situation, verdict: NeedsApproval) -> Verdict:
        """What becomes of a call that the organization wants a person to be asked about."""
        firms = self._firm.decide(situation)
        if isinstance(firms, NeedsApproval) and firms.reasons == verdict.reasons:
            return verdict
        if situation.tool in ANSWERS:
            return firms
        if situation.tool in NOT_LATER:
            return Deny(reasons=verdict.reasons)
        # Whoever wrote that a person be asked first wants another one: the asker's own yes would be asking nobody, by
        # hand, and no less where their agent asks in their name.
        return replace(verdict, four_eyes=True)


class _NoEngine:
    """In the place of policies that cannot be used."""

    def __init__(self, why: Exception) -> None:
        self._why = why

    def ask(self, situation: Situation) -> tuple[Answer, Answer]:
        """Raises  EngineError: always."""
        raise EngineError(f"{situation.tool}: {self._why}")


def own_digest_of(digest: bytes | None) -> bytes | None:
    """Of a recorded digest of policies the part that is the organization's own; None: it had none."""
    return None if digest is None else digest[FIRM_DIGEST_BYTES:] or None


def firm_digest_of(digest: bytes | None) -> bytes | None:
    """Of a recorded digest of policies the part that is of those that hold for every organization."""
    return None if digest is None else digest[:FIRM_DIGEST_BYTES]
