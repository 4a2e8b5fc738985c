"""Which tools a principal is shown at its door: those that policy would not deny it before arguments are known."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.model import ToolOffer
from agent.personas import Persona
from domain.kernel import Principal, Trust
from server.database.unit_of_work import PostgresTransactions
from tools.facts import Facts
from tools.manifest import Manifest
from tools.policy import Policies
from tools.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOffers:
    """Satisfies the agent's Offers; the doors' lists of tools ask it as well."""

    registry: Registry
    policies: Policies
    transactions: PostgresTransactions

    async def manifests(self, principal: Principal) -> Sequence[Manifest]:
        """Every tool that this principal may call at its door, by name.

        Raises  Unavailable: no database.
        """
        facts = await self._facts(principal)
        return [
            tool.manifest for tool in self.registry.all() if self.policies.may_offer(tool.manifest, principal, facts)
        ]

    async def for_principal(self, principal: Principal, persona: Persona) -> Sequence[ToolOffer]:
        """The persona's tools that this principal's role may call at this door, in the persona's order."""
        offered = {manifest.name: manifest for manifest in await self.manifests(principal)}
        return [_offer(offered[name]) for name in persona.tools if name in offered]

    def trust_of(self, tool: str) -> Trust:
        """Trust of the tool's results; external for a name that is no tool's."""
        found = self.registry.find(tool)
        return "external" if found is None else found.manifest.trust

    async def _facts(self, principal: Principal) -> Facts:
        async with self.transactions.begin(principal, "", {}, None, read_only=True) as transaction:
            return transaction.facts


def _offer(manifest: Manifest) -> ToolOffer:
    return ToolOffer(name=manifest.name, description=manifest.description, parameters=manifest.arguments)
