"""Which tools a principal is shown at its door: those that policy would not deny it before arguments are known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agent.model import ToolOffer
from agent.personas import Persona
from domain.autonomy.model import AutonomyRange
from domain.kernel import Door, Level, Mode, Principal, PrincipalKind, Role, Trust
from server.database.unit_of_work import PostgresTransactions
from tools.facts import Facts
from tools.manifest import Manifest
from tools.outcomes import Deny
from tools.policy import Policies, Rulebook
from tools.policy.files import POLICY_ERROR
from tools.registry import Registry

_Asked = tuple[Role, PrincipalKind, Mode, Door, bool, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOffers:
    """Satisfies the agent's Offers; the doors' lists of tools ask it as well."""

    registry: Registry
    policies: Policies
    transactions: PostgresTransactions
    _rulebook: Rulebook = field(init=False)
    _kept: dict[_Asked, Sequence[ToolOffer]] = field(default_factory=dict[_Asked, Sequence[ToolOffer]])
    """What was offered; there are no more of them than roles, kinds, modes, doors and personas make."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rulebook", Rulebook(self.policies))

    async def manifests(self, principal: Principal) -> Sequence[Manifest]:
        """Every tool that this principal may call at its door, by name.

        Raises  Unavailable: no database.
        """
        facts = await self._facts(principal)
        policies = self._rulebook.of(facts.policies)
        return [tool.manifest for tool in self.registry.all() if policies.may_offer(tool.manifest, principal, facts)]

    def for_principal(self, principal: Principal, role: Role, persona: Persona) -> Sequence[ToolOffer]:
        """The persona's tools that this principal, in this role, may call at this door; in the persona's order.

        Needs no transaction: it shows what some autonomy level would let pass, and the gate judges each call anyway, by
        the organization's own policies too, which are not asked here.
        """
        asked = (role, principal.kind, principal.mode, principal.door, principal.attended, persona.tools)
        kept = self._kept.get(asked)
        return kept if kept is not None else self._found(asked, principal)

    def _found(self, asked: _Asked, principal: Principal) -> Sequence[ToolOffer]:
        role, *_, names = asked
        offers: list[ToolOffer] = []
        certain = True
        for manifest in (found.manifest for name in names if (found := self.registry.find(name)) is not None):
            verdicts = [self.policies.before_arguments(manifest, principal, facts) for facts in _at_every_level(role)]
            if not all(isinstance(verdict, Deny) for verdict in verdicts):
                offers.append(_offer(manifest))
            certain = certain and not any(POLICY_ERROR in verdict.reasons for verdict in verdicts)
        # Rules and manifests stay as they are while the process runs; an error of the engine may pass.
        if certain:
            self._kept[asked] = offers
        return offers

    def trust_of(self, tool: str) -> Trust:
        """Trust of the tool's results; external for a name that is no tool's."""
        found = self.registry.find(tool)
        return "external" if found is None else found.manifest.trust

    async def _facts(self, principal: Principal) -> Facts:
        async with self.transactions.begin(principal, "", {}, None, read_only=True) as transaction:
            return transaction.facts


def _at_every_level(role: Role) -> Iterator[Facts]:
    for level in Level:
        bounds = AutonomyRange(
            organization_level=level, floor=level, ceiling=level, tool_ceiling=level, autopilot_disabled=False
        )
        yield Facts(role=role, range=bounds, subjects={}, control_state="not_applicable", control_missing=())


def _offer(manifest: Manifest) -> ToolOffer:
    return ToolOffer(name=manifest.name, description=manifest.description, parameters=manifest.arguments)
