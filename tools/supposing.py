"""What policy would say of other calls than the one that is made: what a handler may ask about autonomy."""

from dataclasses import dataclass, replace

from domain.kernel import Level
from tools.calls import Call
from tools.judge import Judge
from tools.outcomes import Json, Verdict
from tools.ports import CallTransaction
from tools.registry import Parsed, Registry, Tool


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
        # Only arguments that hold to the schema may name subjects: anything else would reach the database as it came.
        held = {} if arguments is None or tool.arguments_validator.check(arguments) else arguments
        other = _supposed(call, tool, held)
        async with transaction.become(other.principal, name, other.subjects, other.control) as facts:
            return self.judge.judge(other, facts).verdict

    async def level_of(self, transaction: CallTransaction, call: Call, name: str | None) -> Level:
        """The level in force for that tool, or for those without a setting of their own."""
        # A setting has a ceiling for a tool that there is, and none for one without a name.
        known = name if name is not None and self.registry.find(name) is not None else ""
        async with transaction.become(call.principal, known, {}, None) as facts:
            return facts.range.in_force(call.request.agent_ceiling)


def _supposed(call: Call, tool: Tool, arguments: Json) -> Call:
    """The call that an agent would make of another tool in this one's place: what `autonomy_query` asks about."""
    parsed = Parsed(model=call.parsed.model, arguments=arguments, canonical="{}")
    return replace(call, principal=replace(call.principal, mode="agent"), tool=tool, parsed=parsed)
