"""A firm over HTTP whose report is signed off and waits for another pair of eyes to be released."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx

from domain.kernel import Role
from server.database.connection import Connection
from server.hub import HubOptions, open_hub
from server.tokens import Audience
from tests.support.calls import add_member
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, settings_of_tests
from tests.support.firms import FIRM_A, seed_firms
from tests.support.site import Site, serving

Json = dict[str, Any]
CONTROL = "report_release"
ENGAGEMENT = str(FIRM_A.id("other_engagement"))
RELEASE: Json = {"control": CONTROL, "engagement_id": ENGAGEMENT, "evidence": [{"subject": "Report", "version": "1"}]}
ASKER, DECIDER = "partner", "SYSTEM_ADMIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firm:
    """A firm whose report is signed off, servers of it by one set of manifests or another, and its record."""

    database: Database
    owner: Connection
    inspector: Connection

    @asynccontextmanager
    async def served(self, manifests: Path | None = None) -> AsyncGenerator[Site]:
        """A server of its own, by other manifests where there are such."""
        options = HubOptions(manifests=manifests)
        async with (
            open_hub(settings_of_tests(), self.database.urls(), PUBLIC_URL, options) as hub,
            serving(hub) as site,
        ):
            yield site

    async def asked(self, site: Site) -> Json:
        """A release that waits: the approval's id and the call's."""
        for who, kind in (("EQR", "EQR_REVIEW"), (ASKER, "REPORT_FINAL")):
            await signed(site, who, kind, "accept")
        answer = await post(site, ASKER, "/v1/tools/release_submit/call", {"arguments": RELEASE})
        assert (answer.status_code, answer.json()["outcome"]) == (202, "waiting"), answer.text
        return cast(Json, answer.json())

    async def assert_not_made(self, asked: Json, state: str, *kinds: str) -> None:
        """Nothing left; the approval and the call's record say so."""
        assert await self.state(asked) == state
        assert await self.kinds(asked["call_id"]) == ["tool.waiting", *kinds]
        assert await self.inspector.fetchval("SELECT count(*) FROM releases WHERE control = $1", CONTROL) == 0

    async def state(self, asked: Json) -> object:
        """Of the approval."""
        found = "SELECT state FROM approvals WHERE approval_id = $1"
        return await self.inspector.fetchval(found, UUID(asked["approval_id"]))

    async def kinds(self, call_id: str) -> list[str]:
        """Of the call's events, oldest first."""
        found = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY recorded_at, opens DESC, kind"
        return [row["kind"] for row in await self.inspector.fetch(found, UUID(call_id))]

    async def reasons(self, call_id: str) -> list[str]:
        """Of the newest event of the call."""
        found = "SELECT reasons FROM activity_events WHERE call_id = $1 ORDER BY recorded_at DESC LIMIT 1"
        return cast("list[str]", await self.inspector.fetchval(found, UUID(call_id)))


async def founded(database: Database, owner: Connection, inspector: Connection) -> Firm:
    """The firm, with a member in each role who decides."""
    await seed_firms(owner)
    await owner.execute(
        "INSERT INTO release_controls (organization_id, name, needs) VALUES ($1, $2, $3)",
        FIRM_A.organization_id,
        CONTROL,
        ["REPORT_FINAL", "EQR_REVIEW"],
    )
    for role in (Role.EQR, Role.MANAGER, Role.SYSTEM_ADMIN):
        await add_member(owner, role)
    return Firm(database=database, owner=owner, inspector=inspector)


async def requested(
    site: Site, method: str, who: str, path: str, body: Json | None = None, audience: Audience = "api"
) -> httpx.Response:
    """A request of one of the firm's people."""
    headers = {"Authorization": f"Bearer {site.token_of(who, audience)}"}
    async with httpx.AsyncClient(base_url=site.url, headers=headers, timeout=60) as client:
        return await client.request(method, path, json=body)


async def post(site: Site, who: str, path: str, body: Json, audience: Audience = "api") -> httpx.Response:
    """Something that one of the firm's people asks for."""
    return await requested(site, "POST", who, path, body, audience)


async def signed(site: Site, who: str, kind: str, decision: str) -> None:
    """Signs the report off, or takes that back."""
    body = {"engagement_id": ENGAGEMENT, "kind": kind, "decision": decision, "subject": "Report", "version": "1"}
    answer = await post(site, who, "/v1/sign-offs", body)
    assert answer.is_success, answer.text


async def decided(
    site: Site, asked: Json, who: str = DECIDER, decision: str = "approve", audience: Audience = "api"
) -> httpx.Response:
    """One of the firm's people answers."""
    return await post(site, who, f"/v1/approvals/{asked['approval_id']}/decision", {"decision": decision}, audience)
