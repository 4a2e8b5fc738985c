"""The log of what runs showed as it is appended to, and the notification that names the runs that have grown."""

from collections.abc import Collection, Sequence
from uuid import UUID

from agent.events import RunFrame
from domain.kernel import OrganizationId, RunId
from domain.storage.postgres import Connection

GROWN_CHANNEL = "glow_runs_grown"

GROWN_IN_ONE = 200
"""Run ids in one notification, which holds less than 8,000 bytes."""

INSERT_FRAMES = """
SELECT refused AS run_id, NULL AS told
FROM glow.append_run_events($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::int[], $7::text[])
    AS refused
UNION ALL
-- Who follows a run in another process wakes when this commits: once a batch, ids alone.
SELECT NULL, pg_notify($8, grown)::text FROM unnest($9::text[]) AS grown
"""


async def insert_frames(
    connection: Connection, frames: Sequence[tuple[OrganizationId, int, RunFrame]]
) -> frozenset[RunId]:
    """Append frames of any runs, each under the epoch of its carrier's lease, as glow_recorder, and wake whoever
    follows one of them elsewhere.

    Gives the runs of which nothing was stored, since another process carries them by now.
    """
    rows = await connection.fetch(
        INSERT_FRAMES,
        [organization_id for organization_id, _, _ in frames],
        [frame.run_id for _, _, frame in frames],
        [frame.sequence for _, _, frame in frames],
        [frame.type for _, _, frame in frames],
        [frame.data for _, _, frame in frames],
        [epoch for _, epoch, _ in frames],
        [frame.checkpoint for _, _, frame in frames],
        GROWN_CHANNEL,
        notifications({frame.run_id: None for _, _, frame in frames}),
    )
    return frozenset(RunId(row["run_id"]) for row in rows if row["run_id"] is not None)


def notifications(grown: Collection[RunId]) -> Sequence[str]:
    """The payloads that name these runs; `grown_runs` reads one back."""
    names = [run_id.hex for run_id in grown]
    return [" ".join(names[start : start + GROWN_IN_ONE]) for start in range(0, len(names), GROWN_IN_ONE)]


def grown_runs(payload: str) -> Sequence[RunId]:
    """The runs that a notification names.

    Raises  ValueError: it is none of ours.
    """
    return [RunId(UUID(hex=name)) for name in payload.split()]
