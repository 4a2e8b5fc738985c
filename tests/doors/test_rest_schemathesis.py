"""Whatever schemathesis makes of the interface's own document is answered as the document says, and by no fault.

Every operation, on a served hub with a database, by people of several roles. What is asked is made from the document:
first at each bound, within and beyond it, then at random from a fixed seed; half of the ids name things that are there.
"""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation import GenerationMode

from domain.kernel import Level, PrincipalId, Role
from server.database.connection import connected
from server.database.embedded import EmbeddedServer
from server.logins import Login
from server.openapi import openapi_document
from tests.support.database import Database, fresh_database, run_apart
from tests.support.firms import FIRM_A
from tests.support.parity import Who
from tests.support.parity_world import seed_world
from tests.support.served import Served, served_apart

pytestmark = pytest.mark.timeout(300)

AT_BOUNDS = 48
"""At most, of each operation's cases at its bounds; so many are taken evenly."""
AT_RANDOM = 12
SEED = 20261128
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
# schemathesis leaves its own generics open, so that what comes from it has no type that could be checked.
SCHEMA: Any = schemathesis.openapi.from_dict(openapi_document())
OPERATIONS: dict[str, Any] = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
# Asked only now: loading a document is what registers the checks of its kind.
CHECKS: list[Any] = cast(Any, checks).CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "missing_required_header",
        "unsupported_method",
    ]
)
"""Not whether valid data is accepted: whether a name, an id or a moment stands for anything, no schema can say. Nor the
`Allow` of a 405: at POST /v1/release-controls/check it rightly names GET too, which is another template's."""
ASKING = tuple(
    Who(role=role, level=Level.L2) for role in (Role.PARTNER, Role.EMPLOYEE, Role.CLIENT, Role.READONLY, Role.MANAGER)
)
THINGS = (None, FIRM_A.id("thing"), None, FIRM_A.id("client_thing"))


@pytest.fixture(scope="module")
def firms(cluster: EmbeddedServer, template: str) -> Iterator[Database]:
    with fresh_database(cluster, template) as database:
        run_apart(_seeded(database))
        yield database


async def _seeded(database: Database) -> None:
    async with connected(database.dsn(Login.OWNER)) as owner:
        await seed_world(owner, ())
        # Rows that only stand for their tables: nothing was embedded, and no run that goes on was cancelled.
        await owner.execute("DELETE FROM knowledge_embeddings")
        await owner.execute("DELETE FROM task_run_cancellations")


@pytest.fixture(scope="module")
def server(firms: Database) -> Iterator[Served]:
    with served_apart(firms) as running:
        yield running


@pytest.fixture(scope="module")
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def asked(server: Served, client: requests.Session, case: Any, who: Who) -> None:
    """Ask, and hold the answer to the document."""
    query: dict[str, Any] = case.query or {}
    if query.get("wait") in (True, "true"):
        # For the worker, which is not run here: what another thread draws by chance would make these examples others.
        del query["wait"]
    body: Any = case.body
    if isinstance(body, dict) and str(cast(dict[str, Any], body).get("url", "")).lower().startswith("http"):
        # Any host that is drawn might be somebody's: none is looked up.
        case.body["url"] = "http://127.0.0.1/"
    token = server.token_of(PrincipalId(who.id), f"firm-{FIRM_A.n}")
    headers = {"Authorization": f"Bearer {token}"}
    # Without a worker it may say, as documented, that it is not ready.
    held = CHECKS[1:] if case.operation.label == "GET /readiness" else CHECKS
    case.call_and_validate(base_url=server.url, session=client, headers=headers, checks=held, timeout=30)


def at_bounds(operation: Any) -> Sequence[Any]:
    """Cases at the bounds of what the document allows, an even choice of them."""
    every: list[Any] = list(
        SCHEMA.iter_coverage_cases(operation, generation_modes=MODES, generation_config=SCHEMA.config.generation)
    )
    return every[:: 1 + len(every) // AT_BOUNDS]


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_is_asked_at_the_bounds_is_answered_as_documented(
    server: Served, client: requests.Session, label: str
) -> None:
    for case, who in zip(at_bounds(OPERATIONS[label]), cycle(ASKING), strict=False):
        asked(server, client, case, who)


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_is_asked_at_random_is_answered_as_documented(
    server: Served, client: requests.Session, label: str
) -> None:
    operation = OPERATIONS[label]

    @seed(SEED)
    @settings(
        max_examples=AT_RANDOM,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(data=st.data(), mode=st.sampled_from(MODES), who=st.sampled_from(ASKING), thing=st.sampled_from(THINGS))
    def hold(data: st.DataObject, mode: GenerationMode, who: Who, thing: object) -> None:
        case: Any = data.draw(operation.as_strategy(generation_mode=mode))
        if thing is not None and mode is GenerationMode.POSITIVE:
            named: list[str] = [name for name in case.path_parameters if name.endswith("_id")]
            case.path_parameters.update(dict.fromkeys(named, str(thing)))
        asked(server, client, case, who)

    hold()
