"""What the Slack door keeps: events taken in and who works on them, whose thread is which conversation, open questions.

Plumbing, without tickets (ADR-0011). Events are read in the organization's context without a principal, which no call
ever stands in; what crosses organizations is done as glow_service, which sees ids and states only.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from domain.kernel import ApprovalId, ConversationId, OrganizationId, PrincipalId
from domain.storage.postgres import Row
from domain.workspaces.model import ChannelSetting
from server.database.pool import Pool
from server.database.unit_of_work import PostgresTransactions, Session

_TEAM = "SELECT organization_id, bot_user_id FROM glow.resolve_slack_team($1)"

_KEEP = """
INSERT INTO slack_events (organization_id, team_id, event_id, payload, lease_until)
VALUES ($1, $2, $3, $4, now() + $5::interval)
ON CONFLICT DO NOTHING
"""
_LOAD = """
SELECT payload, received_at, posted FROM slack_events
WHERE organization_id = $1 AND team_id = $2 AND event_id = $3 AND attempts = $4 AND done_at IS NULL
"""
_RENEW = """
UPDATE slack_events SET lease_until = now() + $5::interval
WHERE organization_id = $1 AND team_id = $2 AND event_id = $3 AND attempts = $4 AND done_at IS NULL
"""
_POSTED = """
UPDATE slack_events SET posted = $5
WHERE organization_id = $1 AND team_id = $2 AND event_id = $3 AND attempts = $4 AND done_at IS NULL
"""
# What somebody wrote is kept no longer than it takes to answer; the message itself stands in its conversation.
_FINISH = """
UPDATE slack_events SET done_at = now(), outcome = $5, payload = ''
WHERE organization_id = $1 AND team_id = $2 AND event_id = $3 AND attempts = $4 AND done_at IS NULL
"""

# Whoever gets a row has it alone; who held it before is fenced off by the number of attempts.
_CLAIM = """
WITH due AS (
    SELECT organization_id, team_id, event_id FROM slack_events
    WHERE done_at IS NULL AND lease_until <= now()
    ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE slack_events e SET lease_until = now() + $2::interval, attempts = e.attempts + 1
FROM due d
WHERE e.organization_id = d.organization_id AND e.team_id = d.team_id AND e.event_id = d.event_id
RETURNING e.organization_id, e.team_id, e.event_id, e.attempts
"""
# What rests for longer than anybody holds it: what is held just now looks for itself.
_HASTEN = """
UPDATE slack_events SET lease_until = now()
WHERE organization_id = $1 AND event_id LIKE $2 AND done_at IS NULL AND lease_until > now() + $3::interval
"""
_FORGET = "DELETE FROM slack_events WHERE done_at < now() - $1::interval"

_THREAD = """
SELECT conversation_id FROM slack_threads
WHERE organization_id = $1 AND team_id = $2 AND channel_id = $3 AND thread_ts = $4 AND principal_id = $5
"""
_REMEMBER_THREAD = """
INSERT INTO slack_threads (organization_id, team_id, channel_id, thread_ts, principal_id, conversation_id)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (organization_id, team_id, channel_id, thread_ts, principal_id)
DO UPDATE SET conversation_id = excluded.conversation_id
"""

_ASKED = "SELECT EXISTS (SELECT FROM slack_approvals WHERE organization_id = $1 AND approval_id = $2)"
_ASK = """
INSERT INTO slack_approvals (organization_id, approval_id, team_id, channel_id, message_ts, principal_id)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""
_SETTLE = """
UPDATE slack_approvals SET settled_at = now()
WHERE organization_id = $1 AND approval_id = $2 AND channel_id = $3 AND message_ts = $4
"""
# Questions that were answered at whatever door, or have expired, while their message still shows buttons.
_ANSWERED = """
WITH due AS (
    SELECT s.organization_id, s.approval_id FROM slack_approvals s
    JOIN approvals a ON a.organization_id = s.organization_id AND a.approval_id = s.approval_id
    WHERE s.settled_at IS NULL AND s.lease_until <= now() AND (a.state <> 'pending' OR a.expires_at <= now())
    ORDER BY s.lease_until LIMIT $1 FOR UPDATE OF s SKIP LOCKED
)
UPDATE slack_approvals s SET lease_until = now() + $2::interval
FROM due d WHERE s.organization_id = d.organization_id AND s.approval_id = d.approval_id
RETURNING s.organization_id, s.approval_id, s.team_id, s.channel_id, s.message_ts, s.principal_id
"""


# Taken before it is told: a reminder that Slack does not take is not made up for, and none is told twice.
_REMINDED = """
WITH due AS (
    SELECT s.organization_id, s.approval_id FROM slack_approvals s
    JOIN approvals a ON a.organization_id = s.organization_id AND a.approval_id = s.approval_id
    WHERE s.settled_at IS NULL AND s.reminded_at IS NULL AND a.reminded_at IS NOT NULL
      AND a.state = 'pending' AND a.expires_at > now()
    ORDER BY a.reminded_at LIMIT $1 FOR UPDATE OF s SKIP LOCKED
)
UPDATE slack_approvals s SET reminded_at = now()
FROM due d WHERE s.organization_id = d.organization_id AND s.approval_id = d.approval_id
RETURNING s.organization_id, s.approval_id, s.team_id, s.channel_id, s.message_ts, s.principal_id
"""

# What nobody who may decide it was written of: once when it is asked, once when it is reminded of, and no more than a
# day later, while the row that says so is kept. Of one that is reminded of it is not told besides that it is asked.
_UNTOLD = """
SELECT a.organization_id, t.team_id, a.approval_id, o.occasion
FROM approvals a
JOIN slack_teams t USING (organization_id)
CROSS JOIN LATERAL (
    SELECT 'asked' AS occasion, a.created_at AS since WHERE a.reminded_at IS NULL
    UNION ALL
    SELECT 'reminded', a.reminded_at WHERE a.reminded_at IS NOT NULL) o
WHERE a.state = 'pending' AND a.expires_at > now() AND o.since > now() - interval '1 day' AND NOT EXISTS (
    SELECT FROM slack_events e
    WHERE e.organization_id = a.organization_id AND e.team_id = t.team_id
      AND e.event_id = 'deciders:' || a.approval_id || ':' || o.occasion)
ORDER BY o.since, a.approval_id LIMIT $1
"""
_TOLD = """
INSERT INTO slack_events (organization_id, team_id, event_id, payload, lease_until, outcome, done_at)
VALUES ($1, $2, $3, '', now(), 'deciders', now())
ON CONFLICT DO NOTHING
"""
_ASK_DIRECTLY = """
INSERT INTO slack_direct_questions (organization_id, approval_id, principal_id, occasion, team_id, channel_id,
    message_ts)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
"""
_ANSWERED_DIRECTLY = """
WITH due AS (
    SELECT s.organization_id, s.approval_id, s.principal_id, s.occasion FROM slack_direct_questions s
    JOIN approvals a ON a.organization_id = s.organization_id AND a.approval_id = s.approval_id
    WHERE s.settled_at IS NULL AND s.lease_until <= now() AND (a.state <> 'pending' OR a.expires_at <= now())
    ORDER BY s.lease_until LIMIT $1 FOR UPDATE OF s SKIP LOCKED
)
UPDATE slack_direct_questions s SET lease_until = now() + $2::interval
FROM due d WHERE s.organization_id = d.organization_id AND s.approval_id = d.approval_id
  AND s.principal_id = d.principal_id AND s.occasion = d.occasion
RETURNING s.organization_id, s.approval_id, s.team_id, s.channel_id, s.message_ts, s.principal_id
"""
_SETTLE_DIRECTLY = """
UPDATE slack_direct_questions SET settled_at = now()
WHERE organization_id = $1 AND approval_id = $2 AND channel_id = $3 AND message_ts = $4
"""
_HELD_IN = """
SELECT thread_ts FROM slack_threads
WHERE organization_id = glow.organization_id() AND conversation_id = $1 AND channel_id = $2 LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Whose workspace it is, and the hub's own user there."""

    organization_id: OrganizationId
    bot_user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKey:
    """An event in the hands of one holder."""

    organization_id: OrganizationId
    team_id: str
    event_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEvent:
    """What Slack delivered, and what of its answer stands in Slack already."""

    payload: str
    received_at: datetime
    posted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadKey:
    """One person's part in one thread."""

    organization_id: OrganizationId
    principal_id: PrincipalId
    team_id: str
    channel_id: str
    thread_ts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The message that shows an approval."""

    organization_id: OrganizationId
    approval_id: ApprovalId
    team_id: str
    channel_id: str
    message_ts: str
    principal_id: PrincipalId
    """In whose eyes it is shown: who asked; of a direct message, who may decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A question of which those who may decide it are to be written to."""

    organization_id: OrganizationId
    team_id: str
    approval_id: ApprovalId
    occasion: str

    @property
    def event_id(self) -> str:
        """Under which it is kept that this was planned."""
        return f"deciders:{self.approval_id}:{self.occasion}"


class PostgresSlack:
    """Keeps and finds it. Every method raises  tools.ports.Unavailable: no database."""

    def __init__(self, transactions: PostgresTransactions, app: Pool, service: Pool) -> None:
        self._transactions = transactions
        self._app = app
        self._service = service

    async def team(self, team_id: str) -> Team | None:
        """Whose workspace that is; None: nobody's here."""
        async with self._app.acquire() as connection:
            row = await connection.fetchrow(_TEAM, team_id)
        if row is None:
            return None
        return Team(organization_id=OrganizationId(row["organization_id"]), bot_user_id=row["bot_user_id"])

    async def keep(self, key: EventKey, payload: str, lease: timedelta) -> bool:
        """Keep an event, in the hands of its first holder; False: it came before."""
        async with self._standing_in(key.organization_id) as session:
            kept = await session.connection.execute(
                _KEEP, key.organization_id, key.team_id, key.event_id, payload, lease
            )
        return kept == "INSERT 0 1"

    async def load(self, key: EventKey) -> KeptEvent | None:
        """The event; None: it is done, or another's by now."""
        async with self._standing_in(key.organization_id) as session:
            row = await session.connection.fetchrow(_LOAD, *_parts(key))
        if row is None:
            return None
        return KeptEvent(payload=row["payload"], received_at=row["received_at"], posted=tuple(row["posted"]))

    async def renew(self, key: EventKey, lease: timedelta) -> bool:
        """Hold it longer, or (zero) let go of it; False: it is another's by now."""
        return await self._update(key, _RENEW, lease)

    async def posted(self, key: EventKey, messages: Sequence[str]) -> bool:
        """Remember which messages of ours show its answer; False: it is another's by now."""
        return await self._update(key, _POSTED, list(messages))

    async def hasten(self, organization_id: OrganizationId, prefix: str, held: timedelta) -> None:
        """Have what is kept under ids that begin so be taken over now. `held`: as long as a holder holds at most."""
        async with self._standing_in(organization_id) as session:
            await session.connection.execute(_HASTEN, organization_id, f"{prefix}%", held)

    async def finish(self, key: EventKey, outcome: str) -> bool:
        """It is done; False: it is another's by now."""
        return await self._update(key, _FINISH, outcome)

    async def claim(self, limit: int, lease: timedelta) -> Sequence[EventKey]:
        """Take over events that nobody holds, oldest first."""
        async with self._service.acquire() as connection:
            rows = await connection.fetch(_CLAIM, limit, lease)
        return [
            EventKey(
                organization_id=OrganizationId(row["organization_id"]),
                team_id=row["team_id"],
                event_id=row["event_id"],
                attempt=row["attempts"],
            )
            for row in rows
        ]

    async def forget(self, older_than: timedelta) -> None:
        """Drop events that were done so long ago that Slack delivers them no more."""
        async with self._service.acquire() as connection:
            await connection.execute(_FORGET, older_than)

    async def conversation(self, thread: ThreadKey) -> ConversationId | None:
        """The person's conversation in the thread; None: there is none yet, or it was deleted."""
        async with self._as(thread.organization_id, thread.principal_id) as session:
            found = await session.connection.fetchval(_THREAD, *_place(thread))
        return None if found is None else ConversationId(found)

    async def remember(self, thread: ThreadKey, conversation_id: ConversationId) -> None:
        """From now on the person's messages in the thread go to this conversation."""
        async with self._as(thread.organization_id, thread.principal_id, read_only=False) as session:
            await session.connection.execute(_REMEMBER_THREAD, *_place(thread), conversation_id)

    async def channel(self, thread: ThreadKey) -> ChannelSetting | None:
        """Who answers there; None: nobody was named."""
        async with self._as(thread.organization_id, thread.principal_id) as session:
            return await session.work.workspaces.channel(thread.team_id, thread.channel_id)

    async def asked(self, organization_id: OrganizationId, principal_id: PrincipalId, approval_id: ApprovalId) -> bool:
        """Whether a message shows this approval already."""
        async with self._as(organization_id, principal_id) as session:
            return await session.connection.fetchval(_ASKED, organization_id, approval_id)

    async def ask(self, question: Question) -> None:
        """Remember the message that shows an approval."""
        async with self._as(question.organization_id, question.principal_id, read_only=False) as session:
            await session.connection.execute(
                _ASK,
                question.organization_id,
                question.approval_id,
                question.team_id,
                question.channel_id,
                question.message_ts,
                question.principal_id,
            )

    async def answered(self, limit: int, lease: timedelta) -> Sequence[Question]:
        """Take up questions that were answered, or have expired, and whose message does not say so yet."""
        async with self._service.acquire() as connection:
            return [_question(row) for row in await connection.fetch(_ANSWERED, limit, lease)]

    async def reminded(self, limit: int) -> Sequence[Question]:
        """Take those that are reminded of and whose thread does not say so: whoever takes one tells it."""
        async with self._service.acquire() as connection:
            return [_question(row) for row in await connection.fetch(_REMINDED, limit)]

    async def thread_of(self, question: Question, conversation_id: ConversationId) -> str | None:
        """The thread that a conversation is held in, where the question stands."""
        async with self._as(question.organization_id, question.principal_id) as session:
            return cast("str | None", await session.connection.fetchval(_HELD_IN, conversation_id, question.channel_id))

    async def settle(self, question: Question) -> None:
        """The message says what became of it."""
        await self._settle(question, _SETTLE)

    async def untold(self, limit: int) -> Sequence[Untold]:
        """Questions of which nobody who may decide them was written to yet, oldest first."""
        async with self._service.acquire() as connection:
            rows = await connection.fetch(_UNTOLD, limit)
        return [
            Untold(
                organization_id=OrganizationId(row["organization_id"]),
                team_id=row["team_id"],
                approval_id=ApprovalId(row["approval_id"]),
                occasion=row["occasion"],
            )
            for row in rows
        ]

    async def plan(self, untold: Untold, notes: Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]) -> int:
        """Keep the notes by which those who may decide are written to, all at once; how many, where nobody was quicker.

        `notes`: given their addresses, by the ids under which each is kept.
        """
        async with self._standing_in(untold.organization_id) as session:
            deciders = await session.work.approvals.deciders(untold.approval_id)
        kept = await notes([each.email for each in deciders])
        where = (untold.organization_id, untold.team_id)
        async with self._standing_in(untold.organization_id) as session:
            if await session.connection.execute(_TOLD, *where, untold.event_id) != "INSERT 0 1":
                return 0
            for event_id, payload in kept.items():
                await session.connection.execute(_KEEP, *where, event_id, payload, timedelta(0))
        return len(kept)

    async def ask_directly(self, question: Question, occasion: str) -> None:
        """Remember the direct message that shows an approval to somebody who may decide it."""
        async with self._as(question.organization_id, question.principal_id, read_only=False) as session:
            await session.connection.execute(
                _ASK_DIRECTLY,
                question.organization_id,
                question.approval_id,
                question.principal_id,
                occasion,
                question.team_id,
                question.channel_id,
                question.message_ts,
            )

    async def answered_directly(self, limit: int, lease: timedelta) -> Sequence[Question]:
        """As `answered`, of direct messages."""
        async with self._service.acquire() as connection:
            return [_question(row) for row in await connection.fetch(_ANSWERED_DIRECTLY, limit, lease)]

    async def settle_directly(self, question: Question) -> None:
        """The direct message says what became of it."""
        await self._settle(question, _SETTLE_DIRECTLY)

    async def _settle(self, question: Question, statement: str) -> None:
        async with self._as(question.organization_id, question.principal_id, read_only=False) as session:
            await session.connection.execute(
                statement, question.organization_id, question.approval_id, question.channel_id, question.message_ts
            )

    async def _update(self, key: EventKey, statement: str, value: object) -> bool:
        async with self._standing_in(key.organization_id) as session:
            return await session.connection.execute(statement, *_parts(key), value) == "UPDATE 1"

    @asynccontextmanager
    async def _standing_in(self, organization_id: OrganizationId) -> AsyncGenerator[Session]:
        async with self._transactions.session(organization_id, None, read_only=False) as session:
            yield session

    @asynccontextmanager
    async def _as(
        self, organization_id: OrganizationId, principal_id: PrincipalId, *, read_only: bool = True
    ) -> AsyncGenerator[Session]:
        async with self._transactions.session(organization_id, principal_id, read_only=read_only) as session:
            yield session


def _parts(key: EventKey) -> tuple[object, ...]:
    return key.organization_id, key.team_id, key.event_id, key.attempt


def _place(thread: ThreadKey) -> tuple[object, ...]:
    return thread.organization_id, thread.team_id, thread.channel_id, thread.thread_ts, thread.principal_id


def _question(row: Row) -> Question:
    return Question(
        organization_id=OrganizationId(row["organization_id"]),
        approval_id=ApprovalId(row["approval_id"]),
        team_id=row["team_id"],
        channel_id=row["channel_id"],
        message_ts=row["message_ts"],
        principal_id=PrincipalId(row["principal_id"]),
    )
