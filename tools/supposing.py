"""What policy would say of other calls than the one that is made: what a handler may ask about autonomy."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from domain.kernel import Level, Principal, Role
from tools.calls import Call
from tools.explanations import Explained, Supposed
from tools.facts import Facts
from tools.judge import Judge
from tools.outcomes import Json, Verdict
from tools.policy import Situation, explain
from tools.ports import CallTransaction
from tools.registry import Parsed, Registry, Tool
from tools.spending import Holds

AS_IT_IS = Supposed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppositions:
    """Asks the policies about calls that nobody makes, each with the facts of the principal it supposes."""

    registry: Registry
    judge: Judge

    async def what_if(
        self, transaction: CallTransaction, call: Call, name: str, arguments: Json | None
    ) -> Verdict | None:
        """The verdict on the call that an agent would make of that tool; None: there is no such tool."""
        tool = self.registry.find(name)
        if tool is None:
            return None
        other = _supposed(call, tool, _held(tool, arguments), AS_IT_IS)
        async with _facts(transaction, other, AS_IT_IS) as (facts, _):
            return self.judge.judge(other, facts).verdict

    async def explain(
        self, transaction: CallTransaction, call: Call, name: str, arguments: Json | None, supposed: Supposed
    ) -> Explained | None:
        """Why that call would get its verdict, and what would give it another; None: there is no such tool."""
        tool = self.registry.find(name)
        if tool is None:
            return None
        held = _held(tool, arguments)
        other = _supposed(call, tool, held, supposed)
        async with _facts(transaction, other, supposed) as (facts, in_its_run):
            judged = self.judge.judge(other, facts, approved=supposed.approved)
        return Explained(
            explanation=explain(
                self.judge.rulebook.of(facts.policies), _situation(judged.situation, supposed), _fixed(other)
            ),
            arguments_fit=held is arguments or arguments is None,
            missing=(*facts.missing, *(() if in_its_run else ("run",))),
        )

    async def level_of(self, transaction: CallTransaction, call: Call, name: str | None) -> Level:
        """The level in force for that tool, or for those without a setting of their own."""
        # A setting has a ceiling for a tool that there is, and none for one without a name.
        known = name if name is not None and self.registry.find(name) is not None else ""
        async with transaction.become(call.principal, known, {}, None) as facts:
            return facts.range.in_force(call.request.agent_ceiling)


def _held(tool: Tool, arguments: Json | None) -> Json:
    """Only arguments that hold to the schema may name subjects: anything else would reach the database as it came."""
    return {} if arguments is None or tool.arguments_validator.check(arguments) else arguments


def _supposed(call: Call, tool: Tool, arguments: Json, supposed: Supposed) -> Call:
    """The call that an agent, or whom is supposed, would make of another tool in this one's place."""
    parsed = Parsed(model=call.parsed.model, arguments=arguments, canonical="{}")
    request = replace(call.request, run_id=supposed.run_id or call.request.run_id)
    principal = _principal(call.principal, supposed)
    return replace(call, request=request, principal=principal, tool=tool, parsed=parsed, holds=Holds())


def _principal(principal: Principal, supposed: Supposed) -> Principal:
    kinds = {None: principal.kind, Role.SERVICE_ACCOUNT: "service_account"}
    return replace(
        principal,
        kind=kinds.get(supposed.role, "person"),
        mode=supposed.mode or "agent",
        door=supposed.door or principal.door,
        # Begun by whoever asks: at the worker nobody waits for it, at another door somebody does.
        scheduled=principal.scheduled and supposed.door is None,
    )


@asynccontextmanager
async def _facts(transaction: CallTransaction, call: Call, supposed: Supposed) -> AsyncGenerator[tuple[Facts, bool]]:
    """What the database says to the asker, in the role that is supposed; and whether there is the run it would be in.

    What is left of a run's budget a call that is made finds when it holds its part: here nothing is held.
    """
    async with transaction.become(call.principal, call.manifest.name, call.subjects, call.control) as facts:
        run_id = call.request.run_id
        taken = None if run_id is None else await transaction.work.budgets.taken_in(run_id)
        facts = facts if taken is None else facts.in_run(taken)
        yield (
            facts if supposed.role is None else replace(facts, role=supposed.role),
            run_id is None or taken is not None,
        )


def _situation(situation: Situation, supposed: Supposed) -> Situation:
    return replace(
        situation,
        level=situation.level if supposed.level is None else supposed.level,
        attended=situation.attended if supposed.attended is None else supposed.attended,
        control_state=situation.control_state if supposed.control_state is None else supposed.control_state,
    )


def _fixed(call: Call) -> set[str]:
    """What no arguments of this tool say, or only steps of a task run."""
    unsaid = {"assigns_other"} if "assignee" not in call.manifest.subjects else set[str]()
    return unsaid | ({"run_cancelled"} if call.request.task_run_id is None else set[str]())
