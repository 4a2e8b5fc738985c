"""Rows become types here, and what rows hold as text is written here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from agent.conversations.checkpoints import checkpoint_of
from agent.conversations.leases import Lease, RunKey, TakenRun
from agent.conversations.model import (
    Act,
    Conversation,
    Found,
    LedgerCall,
    MadeCall,
    Match,
    RunStatus,
    Said,
    Step,
    Summary,
    Surroundings,
    TitledBy,
    Turn,
)
from agent.conversations.runs import AskedTurn, NewRun, RecordedRun, Run, Unfinished
from agent.conversations.searching import snippet_of
from agent.conversations.tree import TurnVersion
from agent.events import CallUsage, Citation, CitationFault, Json, ModelUsage, RunFailed, RunFrame, RunUsage
from agent.frames import citation_json, event_json, json_text
from agent.json_values import mapping, parsed
from agent.model import ProviderItem
from domain.kernel import (
    ApprovalId,
    CallId,
    ConversationId,
    Door,
    EngagementId,
    Level,
    Outcome,
    PrincipalId,
    PrincipalKind,
    Role,
    RunId,
)
from domain.preferences.model import Preference
from domain.storage.postgres import Row
from tools.views.settled import why_settled

_PREFERENCES = TypeAdapter(tuple[Preference, ...])


def surroundings_of(row: Row) -> Surroundings:
    """Who is talking, in which firm, and what they have had remembered."""
    kept = row["preferences"]
    return Surroundings(
        organization=row["name"],
        person=row["display_name"],
        role=Role(row["role"]),
        budgeted=row["budgeted"],
        preferences=() if kept is None else _PREFERENCES.validate_json(kept),
    )


_SUMMARY = TypeAdapter(Summary)
_SAID = {"text", "citations", "last_marker", "open_calls"}


def summary_content(summary: Summary) -> str:
    """What a summary says, as it is stored beside what its columns hold."""
    return _SUMMARY.dump_json(summary, include=_SAID).decode()


def summary_of(row: Row) -> Summary:
    """A stored summary."""
    held = ("summary_id", "last_run_id", "turns", "trust", "model", "input_tokens", "output_tokens", "created_at")
    return _SUMMARY.validate_python({**_object(row["content"]), **{name: row[name] for name in held}})


def user_content(message: str) -> str:
    """A person's message as it is stored."""
    return json_text({"text": message})


def step_content(step: Step) -> str:
    """A step as it is stored: its words, its calls with their results, its citations, what its provider wants back."""
    calls: list[Json] = [
        {
            "call_id": call.call_id,
            "provider_id": call.provider_id,
            "tool": call.tool,
            "arguments": call.arguments,
            "outcome": call.outcome,
            "text": call.text,
        }
        for call in step.calls
    ]
    stored: Json = {"text": step.text, "calls": calls, "citations": list(map(citation_json, step.citations))}
    if step.provider_items:
        stored["provider_items"] = [
            {"maker": item.maker, "content": item.content, "before": item.before} for item in step.provider_items
        ]
    if step.usage is not None:
        stored["usage"] = step.usage
    return json_text(stored)


def user_text(content: str) -> str:
    """The words of a person's stored message."""
    return cast(str, _object(content)["text"])


def step_of(message_id: UUID, content: str) -> Step:
    """A stored step."""
    raw = _object(content)
    return Step(
        message_id=message_id,
        text=cast(str, raw["text"]),
        calls=tuple(_call(each) for each in cast("list[dict[str, str]]", raw["calls"])),
        citations=tuple(_citation(each) for each in cast("list[Json]", raw["citations"])),
        provider_items=tuple(_provider_item(each) for each in cast("list[Json]", raw.get("provider_items", []))),
        usage=_call_usage(mapping(raw.get("usage"))),
    )


def said_of(row: Row) -> Said:
    """A stored message as a reader sees it."""
    message_id, content, asked = row["message_id"], row["content"], row["role"] == "user"
    step = Step(message_id=message_id, text=user_text(content)) if asked else step_of(message_id, content)
    return Said(
        message_id=message_id,
        run_id=RunId(row["run_id"]),
        role="user" if asked else "assistant",
        text=step.text,
        tool_calls=step.calls,
        citations=step.citations,
        created_at=row["created_at"],
        parent_id=row["parent_id"],
        rating=row["rating"],
        comment=row["comment"] or "",
    )


def found_of(row: Row, matched: Sequence[Row], terms: Sequence[str]) -> Found:
    """A conversation that was found, with those of the messages that are its own."""
    own = [each for each in matched if each["conversation_id"] == row["conversation_id"]]
    return Found(conversation=conversation_of(row), matches=tuple(_match_of(each, terms) for each in own))


def _match_of(row: Row, terms: Sequence[str]) -> Match:
    return Match(
        message_id=row["message_id"],
        run_id=RunId(row["run_id"]),
        role="user" if row["role"] == "user" else "assistant",
        snippet=snippet_of(user_text(row["content"]), terms),
    )


def asked_turn_of(row: Row) -> AskedTurn:
    """What a stored run was asked."""
    return AskedTurn(
        run_id=RunId(row["run_id"]),
        conversation_id=ConversationId(row["conversation_id"]),
        agent=row["agent"],
        message=user_text(row["content"]),
        parent_run_id=_run_id(row["parent_run_id"]),
        origin_run_id=RunId(row["origin_run_id"]),
    )


def version_of(row: Row) -> TurnVersion:
    """A turn's place in the tree."""
    return TurnVersion(
        run_id=RunId(row["run_id"]),
        parent_run_id=_run_id(row["parent_run_id"]),
        origin_run_id=RunId(row["origin_run_id"]),
    )


def act_of(row: Row) -> Act:
    """A recorded call that changed something."""
    return Act(
        call_id=CallId(row["call_id"]),
        tool=row["tool"],
        outcome=cast(Outcome, row["outcome"]),
        arguments=row["arguments"],
    )


def error_content(error: RunFailed | None) -> str | None:
    """How a run failed, as its row holds it."""
    return None if error is None else json_text(event_json(error))


def error_of(content: str | None) -> RunFailed | None:
    """How a run failed, from its row."""
    if content is None:
        return None
    raw = _object(content)
    return RunFailed(
        code=cast(str, raw["code"]), message=cast(str, raw["message"]), retryable=cast(bool, raw["retryable"])
    )


def usage_content(usage: RunUsage | None, *, partial: bool = False) -> str | None:
    """What a run used, as its row holds it; `partial`: so far, and what more it used nobody will know if it is lost."""
    if usage is None:
        return None
    return json_text({**event_json(usage), "partial": True} if partial else event_json(usage))


def usage_of(content: str | None) -> RunUsage | None:
    """What a run used, from its row."""
    if content is None:
        return None
    raw = cast("dict[str, int]", _object(content))
    return RunUsage(
        input_tokens=raw["input_tokens"],
        output_tokens=raw["output_tokens"],
        model_calls=raw["model_calls"],
        tool_calls=raw["tool_calls"],
        by_model=_parts_of(content),
        cached_tokens=raw.get("cached_tokens"),
        cost_usd=raw.get("cost_usd"),
        untold_calls=raw.get("untold_calls"),
    )


def _parts_of(content: str) -> Mapping[str, ModelUsage] | None:
    parts = cast("dict[str, dict[str, int]]", mapping(_object(content).get("by_model")))
    return {name: ModelUsage(**part) for name, part in parts.items()} or None


def turns_of(rows: Iterable[Row]) -> list[Turn]:
    """Turns from messages in order; one whose message lies beyond the limit is left out with all its steps."""
    turns: list[Turn] = []
    steps: list[Step] = []
    for row in rows:
        if row["role"] == "user":
            steps = []
            turns.append(_turn_of(row))
        elif turns:
            steps.append(step_of(row["message_id"], row["content"]))
            turns[-1] = _with_steps(turns[-1], steps)
    return turns


def _turn_of(row: Row) -> Turn:
    status = cast(RunStatus, row["status"])
    return Turn(run_id=RunId(row["run_id"]), status=status, message=user_text(row["content"]))


def _with_steps(turn: Turn, steps: Sequence[Step]) -> Turn:
    return replace(turn, steps=tuple(steps))


def with_unkept(turn: Turn, calls: Sequence[LedgerCall]) -> Turn:
    """The turn, with those of the record's calls that none of its steps tells of."""
    told = {call.call_id for step in turn.steps for call in step.calls}
    unkept = tuple(call for call in calls if call.call_id not in told)
    return replace(turn, unkept=unkept)


def call_now(row: Row, *, lapsed: bool) -> Json:
    """A call's envelope as the record and its approval have it now; `lapsed`: nobody has answered in time."""
    outcome = cast(Outcome, "expired" if lapsed else row["outcome"])
    shown: Json = {"outcome": outcome, "call_id": str(row["call_id"])}
    if row["result"] is not None:
        shown["result"] = parsed(row["result"])
    if row["error_code"] is not None:
        shown["error"] = {"code": row["error_code"], "message": why_settled(outcome, row["error_code"], row["comment"])}
    if row["approval_id"] is not None:
        approval: Json = {"id": str(row["approval_id"]), "state": "expired" if lapsed else row["state"]}
        if row["decided_by"] is not None:
            approval["decided_by"] = row["decided_by"]
        if row["comment"]:
            approval["comment"] = row["comment"]
        shown["approval"] = approval
    return shown


def conversation_or_none(row: Row | None) -> Conversation | None:
    """A stored conversation, where there is one."""
    return None if row is None else conversation_of(row)


def conversation_of(row: Row) -> Conversation:
    """A stored conversation."""
    return Conversation(
        conversation_id=ConversationId(row["conversation_id"]),
        title=row["title"],
        agent=row["agent"],
        engagement_id=None if row["engagement_id"] is None else EngagementId(row["engagement_id"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        agent_ceiling=Level(row["agent_ceiling"]),
        active_run_id=_run_id(row["active_run_id"]),
        branched=row["branched"],
        titled_by=cast(TitledBy, row["titled_by"]),
    )


def run_of(row: Row) -> Run:
    """A stored run."""
    return Run(
        run_id=RunId(row["run_id"]),
        conversation_id=ConversationId(row["conversation_id"]),
        agent=row["agent"],
        model=row["model"],
        status=cast(RunStatus, row["status"]),
        error=error_of(row["error"]),
        usage=usage_of(row["usage"]),
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        last_sequence=row["last_sequence"],
        ended_in_log=row["ended_in_log"],
        awaited=_approvals(row["awaited"]),
    )


def _run_id(value: UUID | None) -> RunId | None:
    return None if value is None else RunId(value)


def taken_of(run: RunKey, row: Row) -> TakenRun:
    """A run as it was taken over."""
    return TakenRun(
        lease=Lease(key=run, epoch=row["epoch"]),
        owner_id=PrincipalId(row["owner_id"]),
        owner_kind=cast(PrincipalKind, row["owner_kind"]),
        door=cast(Door, row["door"]),
        scheduled=row["scheduled"],
        lost_carriers=row["lost_carriers"],
        cancel_requested=row["cancel_requested"],
    )


def unfinished_of(row: Row, steps: Sequence[Step], later: Mapping[CallId, Json], told: Sequence[Row]) -> Unfinished:
    """A run as its carrier left it, with the rows of its frames since the last checkpoint."""
    checkpoints = [each["checkpoint"] for each in told if each["checkpoint"] is not None]
    return Unfinished(
        run=_begun(row),
        conversation=conversation_of(row),
        cancel_requested=row["cancel_requested"],
        steps=tuple(steps),
        later=later,
        checkpoint=checkpoint_of(checkpoints[-1]) if checkpoints else None,
        frames=tuple(_frame(each) for each in told),
        last_sequence=max((each["last_sequence"] for each in told), default=0),
        awaited=_approvals(row["awaited"]),
    )


def recorded_of(row: Row, frames: Sequence[Row]) -> RecordedRun:
    """A run with the rows of all its frames."""
    return RecordedRun(
        run=_begun(row),
        conversation=conversation_of(row),
        status=cast(RunStatus, row["status"]),
        error=error_of(row["error"]),
        frames=tuple(map(_frame, frames)),
    )


def _approvals(ids: Sequence[UUID] | None) -> tuple[ApprovalId, ...]:
    return tuple(map(ApprovalId, ids or ()))


def _begun(row: Row) -> NewRun:
    return NewRun(
        run_id=RunId(row["run_id"]),
        conversation_id=ConversationId(row["conversation_id"]),
        agent=row["run_agent"],
        model=row["model"],
        door=cast(Door, row["door"]),
        message_id=row["message_id"],
        message=user_text(row["content"]),
        client_message_id=row["client_message_id"],
        now=row["said_at"],
        parent_run_id=_run_id(row["parent_run_id"]),
        request_id=row["request_id"],
        trace_id=row["trace_id"],
    )


def _frame(row: Row) -> RunFrame:
    return RunFrame(
        run_id=RunId(row["run_id"]),
        sequence=row["sequence"],
        type=row["type"],
        data=row["data"],
        checkpoint=row["checkpoint"],
    )


def _object(content: str) -> Json:
    return cast(Json, orjson.loads(content))


def _call(raw: dict[str, str]) -> MadeCall:
    return MadeCall(
        call_id=CallId(UUID(raw["call_id"])),
        provider_id=raw["provider_id"],
        tool=raw["tool"],
        arguments=raw["arguments"],
        outcome=cast(Outcome, raw["outcome"]),
        text=raw["text"],
    )


def _call_usage(raw: Json) -> CallUsage | None:
    return CallUsage(**cast("dict[str, Any]", raw)) if raw else None


def _citation(raw: Json) -> Citation:
    return Citation(
        marker=cast(int, raw["marker"]),
        document_id=cast(str, raw["document_id"]),
        chunk_id=cast("str | None", raw.get("chunk_id")),
        title=cast(str, raw["title"]),
        uri=cast(str, raw["uri"]),
        start=cast(int, raw["start"]),
        end=cast(int, raw["end"]),
        quote=cast(str, raw["quote"]),
        page=cast("int | None", raw.get("page")),
        section=cast("str | None", raw.get("section")),
        fault=cast("CitationFault | None", raw.get("fault")),
    )


def _provider_item(raw: Json) -> ProviderItem:
    return ProviderItem(
        maker=cast(str, raw["maker"]), content=cast(str, raw["content"]), before=cast("str | None", raw["before"])
    )
