"""A document is followed on its way from queued to ready or failed, on any server and from wherever one left off."""

import json
from typing import Any

import httpx

from tests.support.doors import Doors, problem_of

STREAM = {"Accept": "text/event-stream"}


def told(text: str) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = []
    for block in text.replace("\r", "").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if lines:
            frames.append({**json.loads(lines["data"]), "id": int(lines["id"]), "event": lines["event"]})
    return frames


async def uploaded(client: httpx.AsyncClient, name: str, content: bytes) -> str:
    answer = await client.post("/v1/knowledge/documents", files={"file": (name, content)})
    return str(answer.json()["items"][0]["document_id"])


async def test_a_document_is_followed_until_it_is_ready_from_wherever_a_reader_left_off(doors: Doors) -> None:
    client = await doors.client()
    document_id = await uploaded(client, "letters.md", b"# Letters\n\nThey are renewed every year.")
    path = f"/v1/knowledge/documents/{document_id}/events"

    frames = told((await client.get(path, headers=STREAM)).text)

    ids = [frame["id"] for frame in frames]
    assert ids == sorted(set(ids))
    assert all((frame["id"], frame["event"]) == (frame["sequence"], frame["type"]) for frame in frames)
    assert {frame["type"] for frame in frames[:-1]} <= {"document.progress"}
    last = frames[-1]
    assert (last["type"], last["status"], last["progress"]) == ("document.ready", "ready", 1.0)
    again = await client.get(path, headers={"Last-Event-ID": str(ids[-1] - 1)})
    assert told(again.text) == [last]
    assert (await client.get(path, params={"after": ids[-1]})).status_code == 204
    assert (await client.get(path, headers={"Last-Event-ID": str(ids[-1])})).status_code == 204
    problem_of(await client.get(path, headers={"Accept": "application/json"}), 406, "not_acceptable")
    problem_of(await client.get(path, params={"after": "-1"}), 422, "invalid_request")


async def test_one_that_cannot_be_read_ends_its_stream_with_the_reason(doors: Doors) -> None:
    client = await doors.client()
    document_id = await uploaded(client, "a.pdf", b"%PDF-1.7\nnot really")

    last = told((await client.get(f"/v1/knowledge/documents/{document_id}/events", headers=STREAM)).text)[-1]

    assert (last["type"], last["status"]) == ("document.failed", "failed")
    assert last["message"] == last["failure"]


async def test_nobody_follows_another_firms_document_nor_a_client_the_firms_own(doors: Doors) -> None:
    document_id = await uploaded(await doors.client(), "letters.md", b"Ours.")
    for who in ("employee@borealis", "client@acme"):
        path = f"/v1/knowledge/documents/{document_id}/events"
        problem_of(await (await doors.client(who)).get(path), 404, "not_found")
