"""Runs: what became of a message, its events from wherever a reader left off, and ending one early."""

from dataclasses import replace
from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from agent.frames import RunSummary
from agent.json_values import mapping
from domain.kernel import RunId
from server.chat.messages import RunAnswer
from server.http.answers import json_answer
from server.http.bodies import Json, NoBody
from server.http.document import BODY_REFUSALS, event_streams, of_model, problems, shows
from server.http.keys import replayed_headers
from server.http.negotiation import EVENT_STREAM, choose
from server.http.visits import People
from server.logs import name_in_lines
from server.system_config import Price, SystemConfig

router = APIRouter(tags=["chat"])

LARGEST_SEQUENCE = 2**53

Sequence = Annotated[int, Query(ge=0, le=LARGEST_SEQUENCE)]


async def named(run_id: UUID) -> RunId:
    """A dependency: the run that the path names; the log's lines name it too."""
    name_in_lines(runId=run_id)
    return RunId(run_id)


Named = Annotated[RunId, Depends(named)]


@router.get("/v1/runs/{run_id}", responses=shows(of_model(RunAnswer)))
async def get_run(visit: People, run_id: Named) -> Response:
    """A run's answer, as far as it has come; where the model has a price, with what its tokens cost at that."""
    summary = await _as_it_stands(visit, run_id)
    return json_answer(replace(summary, usage=_priced(summary, visit.hub.config.current)).json())


@router.get(
    "/v1/runs/{run_id}/events",
    responses={
        **event_streams("The run's events, to its terminal one, or to where it waits for a person"),
        204: {"description": "Nothing follows"},
        **problems(429),
    },
)
async def run_events(
    request: Request,
    visit: People,
    run_id: Named,
    after: Sequence = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_SEQUENCE)] = None,
) -> Response:
    """A run's events behind `after`, or behind Last-Event-ID, which a browser sends when it reconnects.

    Of a run that waits for a person: to `run.waiting`; whoever has seen that is told what follows once it goes on.
    """
    choose(request, EVENT_STREAM)
    seen = after if last_event_id is None else last_event_id
    principal, runs = visit.in_chat, visit.hub.runs
    if await runs.exhausted(principal, run_id, seen):
        return Response(status_code=204)
    return visit.follow(run_id, seen)


@router.post("/v1/runs/{run_id}/cancel", responses={**shows(of_model(RunAnswer)), **BODY_REFUSALS})
async def cancel_run(visit: People, run_id: Named, _nothing: Annotated[None, Depends(NoBody())]) -> Response:
    """End a run early; one that has ended stays as it ended. The answer is the run as it stands then."""

    async def cancelled() -> Json:
        await visit.hub.runs.cancel(visit.in_chat, run_id)
        return (await _as_it_stands(visit, run_id)).json()

    once = await visit.once(str(run_id), cancelled)
    return json_answer(once.answer, headers=replayed_headers(once.replayed))


async def _as_it_stands(visit: People, run_id: RunId) -> RunSummary:
    """A run's answer so far."""
    summary = await visit.hub.runs.summary(visit.in_chat, run_id)
    name_in_lines(conversationId=summary.conversation_id)
    return summary


def _priced(summary: RunSummary, config: SystemConfig) -> Json:
    """The usage with what it cost in US dollars: as it was recorded, else at today's prices, if everything has one."""
    if "cost_usd" in summary.usage or "untold_calls" in summary.usage:
        return summary.usage
    parts = mapping(summary.usage.get("by_model")) or {summary.model: summary.usage}
    costs = [_cost(mapping(part), config.prices.get(model)) for model, part in parts.items()]
    known = [cost for cost in costs if cost is not None]
    if not summary.usage or len(known) < len(costs):
        return summary.usage
    return {**summary.usage, "cost_usd": round(sum(known), 6)}


def _cost(used: Json, price: Price | None) -> float | None:
    names = ("input_tokens", "output_tokens", "cached_tokens")
    read, written, cached = (cast(int, used.get(name, 0)) for name in names)
    return None if price is None else price.of(read, written, cached)
