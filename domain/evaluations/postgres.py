"""Evaluations in PostgreSQL."""

import orjson

from domain.evaluations.model import Evaluation
from domain.kernel import CallId
from domain.storage.postgres import Connection

ADD = """
INSERT INTO evaluations
    (organization_id, call_id, kind, set_name, set_digest, conditions, figures, questions, measured_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5::jsonb, $6::jsonb, $7::jsonb, $8)
"""

LAST_LIKE = """
SELECT call_id, kind, set_name, set_digest, conditions::text, figures::text, questions::text, measured_at
FROM evaluations
WHERE organization_id = glow.organization_id() AND kind = $1 AND set_digest = $2 AND conditions = $3::jsonb
    AND call_id <> $4
ORDER BY measured_at DESC, call_id DESC LIMIT 1
"""


class PostgresEvaluations:
    """EvaluationRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, evaluation: Evaluation) -> None:
        """Keep it."""
        await self._connection.execute(
            ADD,
            evaluation.call_id,
            evaluation.kind,
            evaluation.set_name,
            evaluation.set_digest,
            _json(evaluation.conditions),
            _json(evaluation.figures),
            _json(evaluation.questions),
            evaluation.measured_at,
        )

    async def last_like(self, evaluation: Evaluation) -> Evaluation | None:
        """The newest of the same kind, set and conditions, but itself."""
        conditions = _json(evaluation.conditions)
        row = await self._connection.fetchrow(
            LAST_LIKE, evaluation.kind, evaluation.set_digest, conditions, evaluation.call_id
        )
        if row is None:
            return None
        return Evaluation(
            call_id=CallId(row["call_id"]),
            kind=row["kind"],
            set_name=row["set_name"],
            set_digest=row["set_digest"],
            conditions=orjson.loads(row["conditions"]),
            figures=orjson.loads(row["figures"]),
            questions=orjson.loads(row["questions"]),
            measured_at=row["measured_at"],
        )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
