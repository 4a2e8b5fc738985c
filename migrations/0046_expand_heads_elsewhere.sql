-- Heads are sent elsewhere: which of them has come where. No event tells of it: an event would be sealed under a new head,
-- and that be sent in turn, without end.

SET LOCAL lock_timeout = '5s';

CREATE TABLE ledger_sendings (
    organization_id uuid NOT NULL REFERENCES organizations,
    place text NOT NULL,
    size bigint NOT NULL DEFAULT 0,
    root bytea,
    sent_at timestamptz,
    due_at timestamptz NOT NULL,
    claim uuid,
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    failure text,
    PRIMARY KEY (organization_id, place)
);
COMMENT ON TABLE ledger_sendings IS 'Plumbing: written by workers alone. size: of the newest head that the place has taken; '
    'due_at: not before then is it sent the next, a worker that is at it included (claim).';

CALL glow.isolate('ledger_sendings');
CREATE POLICY visible ON ledger_sendings AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.reads_organization()));
CREATE POLICY service ON ledger_sendings TO glow_service USING (true) WITH CHECK (true);
GRANT SELECT ON ledger_sendings TO glow_app;
GRANT SELECT, INSERT, UPDATE ON ledger_sendings TO glow_service;

-- Whose heads there are, and by what name an operator means them.
CREATE POLICY service ON organizations FOR SELECT TO glow_service USING (true);
GRANT SELECT (organization_id, slug) ON organizations TO glow_service;
