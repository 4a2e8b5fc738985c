"""Who asks, and what a route may reach for them: step 1 of the path of a call, for every door of HTTP."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, cast
from uuid import UUID

import orjson
from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from agent.events import RunFrame
from domain.idempotency.model import IdempotencyKey
from domain.kernel import CallId, ConversationId, Door, Principal, RunId, TaskRunId
from domain.taint import ANYTHING
from knowledge.model import DocumentId
from server.auth import Caller, wrong_audience, wrong_origin
from server.database.unit_of_work import Session
from server.http.answers import refusal_members
from server.http.keys import key_of
from server.http.limits import Limits
from server.http.marks import Marks, marks_of
from server.http.sse import EventStreams
from server.http.telling import tells_words
from server.hub import Hub
from server.logs import name_in_lines
from server.problems import Problem
from server.tokens import Audience
from tools.outcomes import CallOutcome, CallRequest, Json

API: tuple[Audience, ...] = ("api", "service")
PEOPLE: tuple[Audience, ...] = ("api", "service", "widget")
"""For what a widget opens too: chat, one's own runs and approvals, uploads."""

Refused = Callable[[Request], tuple[str, Json]]
"""The call that a request stands for, as far as it shows before its body is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a caller whose credential opens this route."""

    hub: Hub
    caller: Caller
    marks: Marks
    streams: EventStreams
    limits: Limits
    key: IdempotencyKey | None = None
    """By which the request names itself, so that it is done once."""

    @property
    def principal(self) -> Principal:
        """The caller acting by its own hand; a credential that is no person's own acts as an agent."""
        return self.caller.principal(self._door("rest"))

    @property
    def said_at(self) -> Door | None:
        """The door at which an agent says what the request says; None: a person's own hand does."""
        return None if self.principal.mode == "person" else self.principal.door

    @property
    def in_chat(self) -> Principal:
        """The caller as the one for whom a model acts."""
        return self.caller.principal(self._door("chat"), mode="agent")

    def follow(self, run_id: RunId, after: int = 0) -> Response:
        """A run's events behind `after`, as they come."""
        pages = self.hub.runs.pages(self.in_chat, run_id, after)
        return self.streams.show(pages, self.limits.streaming(self.principal))

    def follow_answer(self, run_id: RunId, conversation_id: ConversationId) -> Response:
        """The events of the run that one's own message has begun; what an agent hears of it is noted as it comes."""
        if self.said_at is None:
            return self.follow(run_id)
        pages = self._heard(self.hub.runs.pages(self.in_chat, run_id, 0), conversation_id)
        return self.streams.show(pages, self.limits.streaming(self.principal))

    async def _heard(
        self, pages: AsyncGenerator[Sequence[RunFrame]], conversation_id: ConversationId
    ) -> AsyncGenerator[Sequence[RunFrame]]:
        heard = False
        async with aclosing(pages):
            async for page in pages:
                # What a conversation was told grows by the results of its calls alone.
                if not heard or any(frame.type == "tool.completed" for frame in page):
                    await self.hear(conversation_id)
                    heard = True
                yield page

    async def hear(self, conversation_id: ConversationId) -> None:
        """Note for an agent's next calls what an answer tells that is made of all that its conversation was told."""
        door = self.said_at
        if door is not None:
            async with self.session(read_only=False) as session:
                await session.taints.note(await session.taints.of_turn(self.in_chat.door, conversation_id), door)

    async def note_words(self) -> None:
        """Note for an agent's next calls that it is told words, whoever's they are: no call's taint is known of them.

        Of a person's own hand there is nothing to note.
        """
        door = self.said_at
        if door is not None:
            async with self.session(read_only=False) as session:
                await session.taints.note(ANYTHING, door)

    def follow_task_run(self, task_run_id: TaskRunId, after: int) -> Response:
        """What becomes of a task's run behind `after`, as it goes."""
        pages = self.hub.task_runs.pages(self.principal, task_run_id, after)
        return self.streams.show(pages, self.limits.streaming(self.principal))

    def follow_document(self, document_id: DocumentId, after: int) -> Response:
        """What becomes of a document behind `after`, until it is ready or failed."""
        pages = self.hub.document_progress.pages(self.principal, document_id, after)
        return self.streams.show(pages, self.limits.streaming(self.principal))

    def part(self, number: int, content: str) -> "Visit":
        """The visit for one of several acts that a request asks for, all of which are done under its key."""
        return self if self.key is None else replace(self, key=replace(self.key, part=number, content=content))

    async def call(self, tool: str, arguments: object, *, dry_run: bool = False) -> CallOutcome:
        """One call through the gate, marked with this request, under the key that it names itself by."""
        request = replace(self._request(tool, arguments, dry_run=dry_run), idempotency=self.key)
        return _in_lines(await self.hub.gate.call(request, self.principal))

    async def refuse(self, tool: str, arguments: object, reason: str) -> CallOutcome:
        """Record a call that this door refuses before policy is asked."""
        return _in_lines(await self.hub.gate.refuse(self._request(tool, arguments), self.principal, reason))

    async def once(self, parsed: object, make: Callable[[], Awaitable[Json]]) -> "Once":
        """What `make` gives, or gave under this request's key before: for what is no call, and does no harm twice.

        Raises  KeyMismatch, KeyInProgress.
        """
        if self.key is None:
            return Once(answer=await make())
        claim = self.key.claim(self.principal.mode, parsed)
        async with self.session() as session:
            kept = await session.keys.found(claim)
        if kept is not None:
            return Once(answer=orjson.loads(kept), replayed=True)
        made = await make()
        async with self.session(read_only=False) as session:
            kept = await session.keys.claim(claim)
            if kept is None:
                await session.keys.keep(claim, orjson.dumps(made).decode())
        return Once(answer=made) if kept is None else Once(answer=orjson.loads(kept), replayed=True)

    @asynccontextmanager
    async def session(self, *, read_only: bool = True) -> AsyncGenerator[Session]:
        """The caller's own view of the database, for lists and gets.

        Raises  Problem: 403, the membership is gone.
        """
        principal = self.principal
        transactions = self.hub.transactions
        opened = transactions.session(principal.organization_id, principal.principal_id, read_only=read_only)
        async with opened as session:
            if session.role is None:
                raise Problem(403, "not_a_member", "You no longer belong to this organization.")
            yield session

    def _door(self, door: Door) -> Door:
        return "widget" if self.caller.audience == "widget" else door

    def _request(self, tool: str, arguments: object, *, dry_run: bool = False) -> CallRequest:
        call_id = CallId(self.hub.new_id())
        name_in_lines(callId=call_id, engagementId=_engagement_of(arguments))
        return CallRequest(
            call_id=call_id,
            tool=tool,
            arguments=arguments,
            dry_run=dry_run,
            request_id=self.marks.request_id,
            trace_id=self.marks.trace_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """An answer, and whether it was given before."""

    answer: Json
    replayed: bool = False


def open_to(audiences: tuple[Audience, ...], refused: Refused | None = None) -> Callable[[Request], Awaitable[Visit]]:
    """A dependency: the visit of a caller whose token is for one of these audiences.

    `refused`: where a token for another audience or another site's page is recorded as a denied call, what it called.
    Raises  Problem: 401, 403.
    """

    async def opened(request: Request) -> Visit:
        hub = hub_of(request)
        caller = await hub.authenticator.caller(request)
        name_in_lines(orgId=caller.member.organization_id)
        state = request.app.state
        visit = Visit(hub=hub, caller=caller, marks=marks_of(request), streams=state.streams, limits=state.limits)
        problem = (
            wrong_audience(caller.audience)
            if caller.audience not in audiences
            else wrong_origin(caller, request, hub.own_origin)
        )
        if problem is not None:
            raise await turned_away(visit, problem, None if refused is None else refused(request))
        if tells_words(request):
            await visit.note_words()
        return replace(visit, key=key_of(request))

    return opened


def of_tool(name: str) -> Refused:
    """The call of a route that is about one tool; its arguments stand in the body, which is not read for it."""
    return lambda _: (name, {})


def hub_of(request: Request) -> Hub:
    """What the server is made of; its lifespan put it there."""
    return request.app.state.hub


def _in_lines(outcome: CallOutcome) -> CallOutcome:
    name_in_lines(outcome=outcome.outcome)
    return outcome


def _engagement_of(arguments: object) -> UUID | None:
    """The engagement that arguments name, which no schema has passed yet: anything but an id stays out of the log."""
    named = cast(Json, arguments).get("engagement_id") if isinstance(arguments, dict) else None
    try:
        return UUID(named) if isinstance(named, str) else None
    except ValueError:
        return None


async def turned_away(visit: Visit, problem: Problem, called: tuple[str, Json] | None) -> Problem:
    """The problem, with the call that it stands for recorded as denied."""
    if called is not None:
        problem.extra.update(refusal_members(await visit.refuse(*called, reason=problem.code)))
    return problem


Api = Annotated[Visit, Depends(open_to(API))]
"""The visit of a caller with a token for the interface."""
People = Annotated[Visit, Depends(open_to(PEOPLE))]
"""The same, or of one whose token came from a widget."""
