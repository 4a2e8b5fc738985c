"""Release controls, sign-offs and releases in SQL; a control's state is the database's own computation."""

from collections.abc import Sequence
from typing import TypedDict, cast

import orjson

from domain.kernel import CallId, EngagementId
from domain.releases.model import (
    ControlName,
    ControlState,
    Evidence,
    NewRelease,
    NewSignOff,
    Release,
    ReleaseControl,
    ReleaseId,
    ReleaseState,
    SignOff,
    SignOffDecision,
    SignOffId,
)
from domain.storage.postgres import Connection, Row

_LOCK = "SELECT glow.lock_releases($1)"

_CONTROL = "SELECT needs FROM release_controls WHERE organization_id = glow.organization_id() AND name = $1"

_KINDS = "SELECT DISTINCT unnest(needs) AS kind FROM release_controls WHERE organization_id = glow.organization_id()"

_STATE = "SELECT glow.release_state($1, $2)::text"

_SIGN_OFFS = """
SELECT s.sign_off_id, s.engagement_id, s.kind, s.decision, s.subject, s.version, s.comment,
       coalesce(u.email, s.signed_by::text) AS signed_by, s.signed_role, s.signed_at
"""

_STANDING = (
    _SIGN_OFFS
    + """
    , st.holds
FROM glow.release_standing($1, $2) st
JOIN sign_offs s ON s.organization_id = glow.organization_id() AND s.sign_off_id = st.sign_off_id
LEFT JOIN users u ON u.user_id = s.signed_by
ORDER BY s.kind, s.subject
"""
)

# What was signed this moment is the newest word on its subject.
_SIGN_OFF = (
    _SIGN_OFFS
    + """
    , true AS holds
FROM sign_offs s
LEFT JOIN users u ON u.user_id = s.signed_by
WHERE s.organization_id = glow.organization_id() AND s.sign_off_id = $1
"""
)

# Later than everything that was said of the engagement before, whatever the clocks of several servers say.
_ADD_SIGN_OFF = """
INSERT INTO sign_offs (organization_id, sign_off_id, engagement_id, kind, decision, subject, version, comment,
    signed_by, signed_role, signed_at)
SELECT glow.organization_id(), $1, $2, $3, $4, $5, $6, $7, $8, $9,
       greatest($10, max(s.signed_at) + interval '1 microsecond')
FROM sign_offs s
WHERE s.organization_id = glow.organization_id() AND s.engagement_id = $2
"""

_DOCUMENT_VERSION = """
SELECT CASE WHEN deleted_at IS NULL THEN version::text ELSE '' END FROM knowledge_documents
WHERE organization_id = glow.organization_id() AND document_id::text = $1
"""

# Who approved the call is the approval's own word, decided in this very transaction.
_ADD_RELEASE = """
INSERT INTO releases (organization_id, release_id, control, engagement_id, state, evidence, sign_off_ids, call_id,
    released_by, approved_by, released_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5, $6, $7, $8,
    (SELECT a.decided_by FROM approvals a WHERE a.organization_id = glow.organization_id() AND a.call_id = $7), $9)
"""

_RELEASES = """
SELECT r.release_id, r.control, r.engagement_id, r.state, r.evidence, r.sign_off_ids, r.call_id,
       coalesce(u.email, r.released_by::text) AS released_by, coalesce(d.email, r.approved_by::text) AS approved_by,
       r.released_at
FROM releases r
LEFT JOIN users u ON u.user_id = r.released_by
LEFT JOIN users d ON d.user_id = r.approved_by
WHERE r.organization_id = glow.organization_id()
"""

_RELEASE = _RELEASES + "  AND r.release_id = $1"

_NEWEST_RELEASES = (
    _RELEASES
    + """
  AND r.engagement_id = $2 AND r.control = $1
ORDER BY r.released_at DESC, r.release_id DESC
LIMIT 20
"""
)


class _StateJson(TypedDict):
    state: ControlState
    missing: list[str]


class _EvidenceJson(TypedDict):
    subject: str
    version: str
    note: str


class PostgresReleases:
    """ReleaseRepository over a connection in the principal's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self, engagement_id: EngagementId) -> None:
        await self._connection.execute(_LOCK, engagement_id)

    async def control(self, name: ControlName) -> ReleaseControl:
        needs = cast("list[str] | None", await self._connection.fetchval(_CONTROL, name))
        return ReleaseControl(name=name, needs=tuple(needs or ()))

    async def kinds(self) -> frozenset[str]:
        return frozenset(row["kind"] for row in await self._connection.fetch(_KINDS))

    async def state(self, control: ControlName, engagement_id: EngagementId) -> ReleaseState:
        text = cast(str, await self._connection.fetchval(_STATE, control, engagement_id))
        found = cast(_StateJson, orjson.loads(text))
        rows = await self._connection.fetch(_STANDING, control, engagement_id)
        return ReleaseState(
            control=control,
            engagement_id=engagement_id,
            state=found["state"],
            needs=(await self.control(control)).needs,
            missing=tuple(found["missing"]),
            sign_offs=tuple(_sign_off(row) for row in rows),
        )

    async def add_sign_off(self, sign_off: NewSignOff) -> None:
        await self._connection.execute(
            _ADD_SIGN_OFF,
            sign_off.sign_off_id,
            sign_off.engagement_id,
            sign_off.kind,
            sign_off.decision,
            sign_off.subject,
            sign_off.version,
            sign_off.comment,
            sign_off.signed_by,
            str(sign_off.signed_role),
            sign_off.signed_at,
        )

    async def sign_off(self, sign_off_id: SignOffId) -> SignOff:
        row = await self._connection.fetchrow(_SIGN_OFF, sign_off_id)
        return _sign_off(cast(Row, row))

    async def document_version(self, subject: str) -> str | None:
        return cast("str | None", await self._connection.fetchval(_DOCUMENT_VERSION, subject))

    async def add_release(self, release: NewRelease) -> None:
        state = release.state
        await self._connection.execute(
            _ADD_RELEASE,
            release.release_id,
            state.control,
            state.engagement_id,
            state.state,
            _evidence_text(release.evidence),
            [sign_off.sign_off_id for sign_off in state.sign_offs],
            release.call_id,
            release.released_by,
            release.released_at,
        )

    async def release(self, release_id: ReleaseId) -> Release:
        row = await self._connection.fetchrow(_RELEASE, release_id)
        return _release(cast(Row, row))

    async def releases(self, control: ControlName, engagement_id: EngagementId) -> Sequence[Release]:
        return [_release(row) for row in await self._connection.fetch(_NEWEST_RELEASES, control, engagement_id)]


def _sign_off(row: Row) -> SignOff:
    return SignOff(
        sign_off_id=SignOffId(row["sign_off_id"]),
        engagement_id=EngagementId(row["engagement_id"]),
        kind=row["kind"],
        decision=cast(SignOffDecision, row["decision"]),
        subject=row["subject"],
        version=row["version"],
        comment=row["comment"],
        signed_by=row["signed_by"],
        signed_role=row["signed_role"],
        signed_at=row["signed_at"],
        holds=row["holds"],
    )


def _evidence_text(evidence: Sequence[Evidence]) -> str:
    held = [{"subject": each.subject, "version": each.version, "note": each.note} for each in evidence]
    return orjson.dumps(held).decode()


def _release(row: Row) -> Release:
    evidence = cast("list[_EvidenceJson]", orjson.loads(row["evidence"]))
    return Release(
        release_id=ReleaseId(row["release_id"]),
        control=cast(ControlName, row["control"]),
        engagement_id=EngagementId(row["engagement_id"]),
        state=cast(ControlState, row["state"]),
        evidence=tuple(Evidence(**each) for each in evidence),
        sign_off_ids=tuple(SignOffId(each) for each in row["sign_off_ids"]),
        call_id=CallId(row["call_id"]),
        released_by=row["released_by"],
        approved_by=row["approved_by"],
        released_at=row["released_at"],
    )
