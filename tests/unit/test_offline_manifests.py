"""The offline model's calls hold to the arguments of the manifests as they are."""

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import jsonschema_rs
import orjson
import pytest
import yaml

from agent.model import AssistantMessage, CallRequested, ModelRequest, ToolOffer, ToolResultMessage, UserMessage
from agent.offline import OfflineModel

MANIFESTS = Path(__file__).parents[2] / "manifests" / "tools"
ID = "0b6f5dfe-8a4b-4a37-9e32-0f7b8f3f8a11"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

Json = dict[str, object]


def offers() -> dict[str, ToolOffer]:
    manifests = [cast("Json", yaml.safe_load(path.read_text("utf-8"))) for path in sorted(MANIFESTS.glob("*.yaml"))]
    found = (
        ToolOffer(name=str(manifest["name"]), description="", parameters=cast("Json", manifest["arguments"]))
        for manifest in manifests
        if "chat" in cast("list[str]", manifest["doors"])
    )
    return {offer.name: offer for offer in found}


OFFERS = offers()


async def calls_of(message: str, *results: Json) -> list[tuple[str, Json]]:
    """The calls the model makes for `message`, when each brings the next of `results`."""
    model = OfflineModel(clock=lambda: NOW)
    messages: list[UserMessage | AssistantMessage | ToolResultMessage] = [UserMessage(text=message)]
    calls: list[tuple[str, Json]] = []
    for result in [*results, Json()]:
        first = await anext(model.stream(ModelRequest(messages=messages, tools=tuple(OFFERS.values()))))
        if not isinstance(first, CallRequested):
            break
        calls.append((first.call.name, cast("Json", orjson.loads(first.call.arguments))))
        told = orjson.dumps({"outcome": "done", "result": result}).decode()
        messages.append(AssistantMessage(text="", calls=(first.call,)))
        messages.append(ToolResultMessage(provider_id=first.call.provider_id, name=first.call.name, text=told))
    return calls


async def test_a_run_that_was_begun_is_waited_for_within_the_manifests_bounds() -> None:
    calls = await calls_of(f"run task {ID}", {"task_run": {"task_run_id": ID, "status": "queued"}})
    (begun, _), (waits, arguments) = calls
    assert (begun, waits) == ("task_run", "task_run_get")
    assert arguments["task_run_id"] == ID
    assert cast(int, arguments["wait_s"]) > 0
    jsonschema_rs.validator_for(OFFERS[waits].parameters).validate(arguments)


@pytest.mark.parametrize(
    ("message", "tools"),
    [
        ("When must the engagement letter be renewed, and who signs it?", ["knowledge_search"]),
        ("word " * 5000, ["knowledge_search"]),
        (f"read document {ID} page 2", ["knowledge_read"]),
        ("create a task to call the client due tomorrow", ["task_create"]),
        ("create a task to " + "x" * 1500, ["task_create"]),
        ("create a task to refresh the analytics and run it", ["task_create", "task_run"]),
        ("list open tasks", ["task_list"]),
        (f"show task {ID}", ["task_get"]),
        (f"run task {ID}", ["task_run"]),
        (f"status of run {ID}", ["task_run_get"]),
        (f"mark task {ID} done", ["task_update"]),
        (f"cancel run {ID}", ["task_run_cancel"]),
        (f"is the report release of {ID} ready?", ["release_check"]),
        ("what may you do on your own?", ["autonomy_query"]),
        ("may you run task_run?", ["autonomy_query"]),
        ("may you use Task_Run?", ["autonomy_query"]),
        ("report", ["analytics_report"]),
        ("how were the tools used last week?", ["analytics_report"]),
        (f"/call {ID}", ["call_get"]),
        ("talk to the tax agent", ["agent_handover"]),
    ],
)
async def test_every_call_holds_to_the_manifest(message: str, tools: list[str]) -> None:
    calls = await calls_of(message, {"task": {"task_id": ID, "title": "A"}})
    assert [tool for tool, _ in calls] == tools
    for tool, arguments in calls:
        jsonschema_rs.validator_for(OFFERS[tool].parameters).validate(arguments)
