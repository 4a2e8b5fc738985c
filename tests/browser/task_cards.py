"""Tasks of the firm's people, made beside the page, and the cards that show them on it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.served import Served

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page


@asynccontextmanager
async def rest(server: Served, who: str = "employee") -> AsyncGenerator[httpx.AsyncClient]:
    """A person's own requests, beside the page."""
    headers = {"Authorization": f"Bearer {server.token(who)}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        yield client


async def add_task(server: Served, title: str, who: str = "employee", **given: object) -> str:
    """A task that a workflow does, unless something else is said; its id."""
    async with rest(server, who) as client:
        answer = await client.post("/v1/tasks", json={"title": title, "kind": "refresh_analytics", **given})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["task_id"])


async def latest_run(server: Served, task_id: str) -> dict[str, Any] | None:
    async with rest(server) as client:
        return (await client.get(f"/v1/tasks/{task_id}")).json().get("latest_run")


def card_of(page: "Page", title: str) -> "Locator":
    return page.locator(".card", has=page.get_by_role("heading", name=title, exact=True))
