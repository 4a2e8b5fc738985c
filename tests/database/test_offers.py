"""What a model is offered is found without a transaction, and is what the doors' lists would show the same person."""

from collections.abc import AsyncIterator

import pytest

from agent.personas import load_personas
from domain.kernel import Door, Role
from domain.resources import resource_folder
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.offers import PolicyOffers
from tests.support.firms import seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tools.policy import Policies, Situation
from tools.policy.cedar import Answer, Engine
from tools.policy.files import read_policy_files

PERSONA = load_personas(resource_folder("manifests")).get(None)
ROLES = {
    "employee": Role.EMPLOYEE,
    "partner": Role.PARTNER,
    "client": Role.CLIENT,
    "service": Role.SERVICE_ACCOUNT,
}


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


@pytest.mark.parametrize("door", ["chat", "mcp", "worker"])
@pytest.mark.parametrize("who", ROLES)
async def test_a_model_is_offered_of_its_personas_tools_what_the_doors_list_shows(
    gate: GateOnTest, who: str, door: Door
) -> None:
    offers = PolicyOffers(registry=gate.registry, policies=gate.policies, transactions=gate.transactions)
    principal = principal_of(who=who, door=door)
    listed = {manifest.name for manifest in await offers.manifests(principal)}
    offered = offers.for_principal(principal, ROLES[who], PERSONA)
    assert [offer.name for offer in offered] == [name for name in PERSONA.tools if name in listed]
    assert offers.for_principal(principal, ROLES[who], PERSONA) is offered


class Faltering(Engine):
    """Cedar, but for its first answer."""

    faltered = False

    def ask(self, situation: Situation) -> tuple[Answer, Answer]:
        if not self.faltered:
            self.faltered = True
            raise ValueError("no answer")
        return super().ask(situation)


async def test_an_error_of_the_engine_hides_a_tool_once_and_not_for_ever(gate: GateOnTest) -> None:
    files = read_policy_files(resource_folder("manifests") / "policies")
    policies = Policies(engine=Faltering.parse(files), rules=files.rules, digest=files.digest)
    offers = PolicyOffers(registry=gate.registry, policies=policies, transactions=gate.transactions)
    whole = PolicyOffers(registry=gate.registry, policies=gate.policies, transactions=gate.transactions)
    principal = principal_of()
    offers.for_principal(principal, Role.EMPLOYEE, PERSONA)
    assert offers.for_principal(principal, Role.EMPLOYEE, PERSONA) == whole.for_principal(
        principal, Role.EMPLOYEE, PERSONA
    )
