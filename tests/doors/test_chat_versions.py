"""Versions over HTTP: an answer given again, a message written anew, and the way back, each once under its key."""

import httpx

from tests.doors.test_chat_door import STREAM, events_of, talk
from tests.support.doors import Doors, problem_of

NOBODYS = "00000000-0000-4000-8000-000000abcdef"


async def said(client: httpx.AsyncClient, answer: dict[str, str], **query: str) -> list[dict[str, object]]:
    messages = await client.get(f"/v1/conversations/{answer['conversation_id']}/messages", params=query)
    assert messages.status_code == 200, messages.text
    return messages.json()["items"]


async def test_an_answer_is_given_again_once_under_its_key_and_the_first_is_gone_back_to(doors: Doors) -> None:
    client = await doors.client()
    first = (await talk(client)).json()
    path, key = f"/v1/runs/{first['run_id']}/regenerate", {"Idempotency-Key": "again"}

    streamed = await client.post(path, headers={**STREAM, **key})
    again = events_of(streamed.text)
    replayed = await client.post(path, headers=key)

    assert again[0]["conversation_id"] == first["conversation_id"]
    assert replayed.headers["idempotency-replayed"] == "true"
    assert replayed.json()["run_id"] == again[0]["run_id"] != first["run_id"]
    last = (await said(client, first))[-1]
    assert (last["version"], last["versions"]) == (2, [first["run_id"], again[0]["run_id"]])
    assert (await said(client, first, branch=first["run_id"]))[-1]["version"] == 1
    chosen = await client.post(f"/v1/conversations/{first['conversation_id']}/branch", json={"run_id": first["run_id"]})
    assert chosen.json()["active_run_id"] == first["run_id"]
    assert (await said(client, first))[-1]["version"] == 1
    problem_of(await client.post(f"/v1/runs/{NOBODYS}/regenerate"), 404, "not_found")
    problem_of(await client.post(path, json={"message": "x"}), 422, "invalid_request")


async def test_a_message_is_written_anew_and_one_may_follow_the_earlier_one(doors: Doors) -> None:
    client = await doors.client()
    first = (await talk(client)).json()

    edited = (await client.post(f"/v1/runs/{first['run_id']}/edit", json={"message": "list my tasks"})).json()
    after = await talk(client, "and now?", conversation_id=first["conversation_id"], after_run_id=first["run_id"])

    assert edited["conversation_id"] == first["conversation_id"]
    shown = await said(client, first, branch=edited["run_id"])
    assert (shown[0]["text"], shown[0]["version"]) == ("list my tasks", 2)
    assert after.status_code == 200
    assert [each["text"] for each in await said(client, first) if each["role"] == "user"] == [
        "what may you do on your own?",
        "and now?",
    ]
    problem_of(await client.post(f"/v1/runs/{first['run_id']}/edit", json={"message": " "}), 422, "invalid_message")
    problem_of(await talk(client, after_run_id=first["run_id"]), 422, "invalid_message")
    branch = f"/v1/conversations/{first['conversation_id']}/branch"
    problem_of(await client.post(branch, json={"run_id": NOBODYS}), 404, "not_found")
    stranger = await doors.client("employee@borealis")
    problem_of(await stranger.post(branch, json={"run_id": first["run_id"]}), 404, "not_found")
    for path in ("regenerate", "edit"):
        body = {"message": "x"} if path == "edit" else None
        problem_of(await stranger.post(f"/v1/runs/{first['run_id']}/{path}", json=body), 404, "not_found")
