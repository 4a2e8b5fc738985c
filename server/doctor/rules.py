"""Whether what ships with the program fits together, and whether organizations' own policies still do."""

from collections.abc import AsyncGenerator, Collection, Iterator

from agent.personas import PersonaInvalid, load_personas
from domain.resources import resource_folder
from knowledge.isolate import IsolatedPreparer
from server.database.errors import DatabaseUnavailable, MigrationRefused
from server.database.inspection import policies_in_force
from server.database.migrate import load_migrations
from server.doctor.finding import Finding, wrong
from server.rules import load_rules
from tools.policy import PolicyFilesError, Rulebook
from tools.policy.standing import standing_of
from tools.registry import RegistryError
from tools.workflows import WorkflowFilesError

RULES_FAULTY = (RegistryError, PolicyFilesError, WorkflowFilesError)
RULES_UNUSABLE = (*RULES_FAULTY, PersonaInvalid)
MANIFESTS_AT_FAULT = "mend the file that is named; `glow tools validate` checks again"


def rules_findings() -> Iterator[Finding]:
    """Whether manifests, policies, workflows and personas fit, and no migration was changed."""
    try:
        rules = load_rules(IsolatedPreparer())
    except RULES_FAULTY as unusable:
        yield from (wrong("manifests", fault, MANIFESTS_AT_FAULT) for fault in unusable.faults)
    except PersonaInvalid as unusable:
        yield wrong("manifests", str(unusable), MANIFESTS_AT_FAULT)
    else:
        says = f"{len(rules.registry.all())} tools, {len(rules.policies.rules)} policies, workflows and personas fit"
        yield Finding(part="manifests", state="ok", says=says)
    try:
        load_migrations(resource_folder("migrations"))
    except MigrationRefused as refused:
        yield wrong("migrations", str(refused), "put the files of this version back")


async def policies_findings(service_url: str) -> AsyncGenerator[Finding]:
    """Whether the organizations' own policies can still be used; of those that can, nothing is said but how many."""
    try:
        rules = load_rules(IsolatedPreparer())
        held = await policies_in_force(service_url)
    except (DatabaseUnavailable, *RULES_UNUSABLE):
        # Said elsewhere.
        return
    tools, rulebook, unusable = {tool.manifest.name for tool in rules.registry.all()}, Rulebook(rules.policies), 0
    for each in held:
        standing = standing_of(each.policy, rulebook, tools)
        named = f"{each.organization}'s own {each.policy.id}"
        mend = (
            f"a SYSTEM_ADMIN runs `glow policy remove {each.policy.id}`, or puts it right: `glow policy add --replace`"
        )
        if standing.faults:
            says = f"{named} cannot be used, so that its calls are denied (policy_error): {'; '.join(standing.faults)}"
            yield wrong("policies", says, mend)
        elif standing.gone:
            says = (
                f"{named} speaks of {', '.join(standing.gone)}, which there is not, so that it holds for nothing there"
            )
            yield wrong("policies", says, mend)
        unusable += bool(standing.faults or standing.gone)
    if held and not unusable:
        yield Finding(part="policies", state="ok", says=f"{len(held)} of organizations' own, all usable")


def wanted_models() -> Collection[str]:
    """The models that agents want; none where their manifests are at fault, which is said elsewhere."""
    try:
        return load_personas(resource_folder("manifests")).models
    except PersonaInvalid:
        return ()
