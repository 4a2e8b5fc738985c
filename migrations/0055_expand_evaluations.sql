-- What search and answers measured against a judged set. Of the question only its id in the set is kept; who measured, and
-- when, stands in the record under the same call.

SET LOCAL lock_timeout = '5s';

CREATE TABLE evaluations (
    organization_id uuid NOT NULL REFERENCES organizations,
    call_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('retrieval', 'answers')),
    set_name text NOT NULL CHECK (length(set_name) BETWEEN 1 AND 200),
    set_digest text NOT NULL CHECK (set_digest ~ '^[0-9a-f]{64}$'),
    conditions jsonb NOT NULL,
    figures jsonb NOT NULL,
    questions jsonb NOT NULL,
    measured_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, call_id)
);
COMMENT ON COLUMN evaluations.conditions IS 'How it was measured; figures are compared under the same conditions only.';
COMMENT ON COLUMN evaluations.questions IS 'By the question''s id in the set: its own figures.';
CREATE INDEX evaluations_newest ON evaluations (organization_id, kind, set_digest, measured_at DESC, call_id DESC);

CALL glow.isolate('evaluations');
CREATE POLICY visible ON evaluations AS RESTRICTIVE FOR SELECT TO glow_app
    USING (glow.role() IS NOT NULL AND glow.role() <> 'CLIENT');
GRANT SELECT, INSERT ON evaluations TO glow_app;
CALL glow.require_ticket('evaluations');
