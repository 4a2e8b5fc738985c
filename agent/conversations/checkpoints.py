"""Checkpoints, and the text of one that stands beside a frame, shown to nobody: from there another process goes on."""

from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import orjson

from agent.budget import Budget
from agent.events import CallUsage, Json, ModelUsage, RunUsage
from agent.frames import event_json, json_text
from agent.hearing import Told
from agent.json_values import mapping
from agent.model import Answering, FinishReason, ProviderItem, ToolCall
from domain.kernel import CallId


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentSoFar:
    """What a run had spent at a checkpoint."""

    usage: RunUsage
    repairs: int
    estimated_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A turn of the model heard to its end, before anything of it is done: from here another process can go on.

    Stored with the frame that ends the turn's words, or with its first call's where it had none.
    """

    message_id: UUID
    calls: tuple[tuple[CallId, ToolCall], ...]
    provider_items: tuple[ProviderItem, ...]
    spent: SpentSoFar
    words: str | None = None
    """What the model itself said in it, where the text that was shown has more words than those."""
    out_of_time: bool = False
    unpaid: str = ""
    """Why the model was not asked: which of the firm's budgets had too little left."""
    told: Told | None = None
    """None: the model was not asked; or the turn is of a time when this was not kept."""
    limits: Budget | None = None
    """What the run may spend by whoever told the turn; None: the turn is of a time when this was not kept."""


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """A checkpoint as it is stored."""
    calls = [
        {"call_id": call_id, "provider_id": call.provider_id, "tool": call.name, "arguments": call.arguments}
        for call_id, call in checkpoint.calls
    ]
    items = [
        {"maker": each.maker, "content": each.content, "before": each.before} for each in checkpoint.provider_items
    ]
    spent: Json = {
        "usage": event_json(checkpoint.spent.usage),
        "repairs": checkpoint.spent.repairs,
        "estimated_tokens": checkpoint.spent.estimated_tokens,
        "seconds": checkpoint.spent.seconds,
    }
    mark: Json = {"message_id": checkpoint.message_id, "calls": calls, "provider_items": items, "spent": spent}
    if checkpoint.words is not None:
        mark["words"] = checkpoint.words
    if checkpoint.out_of_time:
        mark["out_of_time"] = True
    if checkpoint.unpaid:
        mark["unpaid"] = checkpoint.unpaid
    if checkpoint.told is not None:
        mark["told"] = checkpoint.told
    if checkpoint.limits is not None:
        mark["limits"] = checkpoint.limits
    return json_text(mark)


def checkpoint_of(content: str) -> Checkpoint:
    """A stored checkpoint."""
    raw = cast(Json, orjson.loads(content))
    return Checkpoint(
        message_id=UUID(cast(str, raw["message_id"])),
        calls=tuple(_call(each) for each in cast("list[dict[str, str]]", raw["calls"])),
        provider_items=tuple(_item(each) for each in cast("list[dict[str, str | None]]", raw["provider_items"])),
        spent=_spent(mapping(raw["spent"])),
        words=cast("str | None", raw.get("words")),
        out_of_time=raw.get("out_of_time") is True,
        unpaid=cast(str, raw.get("unpaid", "")),
        told=_told(mapping(raw["told"])) if "told" in raw else None,
        limits=Budget(**cast("dict[str, Any]", raw["limits"])) if "limits" in raw else None,
    )


def _call(raw: dict[str, str]) -> tuple[CallId, ToolCall]:
    call = ToolCall(provider_id=raw["provider_id"], name=raw["tool"], arguments=raw["arguments"])
    return CallId(UUID(raw["call_id"])), call


def _item(raw: dict[str, str | None]) -> ProviderItem:
    return ProviderItem(maker=raw["maker"] or "", content=raw["content"] or "", before=raw["before"])


def _told(raw: Json) -> Told:
    answering = raw.get("answering")
    return Told(
        ended=cast("FinishReason | None", raw.get("ended")),
        answering=None if answering is None else Answering(**cast("dict[str, str]", answering)),
        usage=CallUsage(**cast("dict[str, Any]", raw["usage"])),
        untold=cast(int, raw["untold"]),
        asked=cast(int, raw["asked"]),
    )


def run_usage_of(used: Json) -> RunUsage:
    """A run's usage, from its event's members."""
    parts = cast("dict[str, dict[str, Any]]", mapping(used.get("by_model")))
    return RunUsage(
        input_tokens=cast(int, used["input_tokens"]),
        output_tokens=cast(int, used["output_tokens"]),
        model_calls=cast(int, used["model_calls"]),
        tool_calls=cast(int, used["tool_calls"]),
        by_model={name: ModelUsage(**part) for name, part in parts.items()} or None,
        cached_tokens=cast("int | None", used.get("cached_tokens")),
        cost_usd=cast("float | None", used.get("cost_usd")),
        untold_calls=cast("int | None", used.get("untold_calls")),
        failed_citations=cast("int | None", used.get("failed_citations")),
    )


def _spent(raw: Json) -> SpentSoFar:
    return SpentSoFar(
        usage=run_usage_of(mapping(raw["usage"])),
        repairs=cast(int, raw["repairs"]),
        estimated_tokens=cast(int, raw["estimated_tokens"]),
        seconds=cast(float, raw["seconds"]),
    )
