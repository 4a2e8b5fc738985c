"""Facts in, verdict out: the gate's pure middle, step 5 of the path of a call."""

from dataclasses import dataclass, replace
from typing import cast

from domain.kernel import Effect, Level, Role
from tools.calls import Call
from tools.facts import Facts
from tools.manifest import Manifest
from tools.outcomes import Verdict
from tools.policy import Rulebook, situation_of
from tools.record import Judged
from tools.workflows import Workflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Asks the policies about one call at a time."""

    rulebook: Rulebook
    workflows: Workflows

    def judge(self, call: Call, facts: Facts, *, approved: bool = False) -> Judged:
        """The verdict on a call; `approved`: a person has agreed to this exact call."""
        situation = situation_of(
            call.manifest,
            call.principal,
            facts,
            persona_ceiling=call.request.agent_ceiling,
            minimum_level=self._minimum_level(call.manifest, facts),
            approved=approved,
            control=call.control,
            sign_off_kind=call.sign_off_kind,
            budget_exhausted=call.budget_exhausted(facts),
            widens=call.widens(facts),
        )
        policies = self.rulebook.of(facts.policies)
        return Judged(
            facts=facts, situation=situation, verdict=policies.decide(situation), policy_digest=policies.digest
        )

    def suppose(self, judged: Judged, level: Level, effect: Effect, kind: str | None) -> Verdict:
        """What autonomy says at a level of the agent's plain call of this effect, or starting a task of this kind."""
        workflow = self.workflows.find(kind)
        plain = replace(
            judged.situation,
            mode="agent",
            level=level,
            effect=effect,
            least_role=Role.READONLY,
            person_only=False,
            autonomy="effect" if workflow is None else "workflow",
            minimum_level=None if workflow is None else workflow.minimum_autonomy,
            rule_role=Role.MANAGER,
            rule_four_eyes=False,
            control=None,
            control_state="not_applicable",
            sign_off_kind=None,
            assigns_other=False,
            client_own_task=None,
            run_cancelled=False,
            own_statement=None,
            approval_needs_role=None,
            delegate_role=None,
            delegation_concerned=None,
            budget_exhausted=None,
            taint=None,
            widens=None,
            approved=False,
        )
        return self.rulebook.of(judged.facts.policies).decide(plain)

    def _minimum_level(self, manifest: Manifest, facts: Facts) -> Level | None:
        """From which level on the agent starts this work without asking; None: the effect's row of the table holds."""
        if manifest.autonomy != "workflow":
            return None
        workflow = self.workflows.find(cast("str | None", facts.of("task", "kind")))
        return manifest.minimum_autonomy if workflow is None else workflow.minimum_autonomy
