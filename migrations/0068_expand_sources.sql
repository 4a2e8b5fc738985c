-- Sources that documents are kept like: how far a sync has come, item by item, and what it did.

SET LOCAL lock_timeout = '5s';

ALTER TABLE knowledge_sources
    ADD COLUMN audience text NOT NULL DEFAULT 'firm' CHECK (audience IN ('firm', 'client')),
    ADD COLUMN engagement_id uuid,
    ADD COLUMN trust text NOT NULL DEFAULT 'internal' CHECK (trust IN ('internal', 'client', 'external')),
    ADD COLUMN task_id uuid,
    ADD COLUMN created_by uuid,
    ADD COLUMN phase text NOT NULL DEFAULT 'idle' CHECK (phase IN ('idle', 'listing', 'applying')),
    ADD COLUMN cursor text,
    ADD COLUMN listing integer NOT NULL DEFAULT 0,
    ADD COLUMN is_listing boolean NOT NULL DEFAULT false,
    ADD COLUMN revision bigint NOT NULL DEFAULT 0,
    ADD COLUMN task_run_id uuid,
    ADD COLUMN listed_in uuid,
    ADD COLUMN failed_in uuid,
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    ADD COLUMN failure text,
    ADD COLUMN rests_until timestamptz,
    ADD COLUMN report jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN synced_at timestamptz,
    ADD COLUMN removed_at timestamptz,
    ADD CONSTRAINT knowledge_sources_engagement CHECK (audience = 'firm' OR engagement_id IS NOT NULL),
    ADD FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements,
    ADD FOREIGN KEY (organization_id, task_id) REFERENCES tasks,
    ADD FOREIGN KEY (organization_id, created_by) REFERENCES memberships;
COMMENT ON COLUMN knowledge_sources.cursor IS 'Where the next read of what changed goes on, in the source''s own words.';
COMMENT ON COLUMN knowledge_sources.listing IS 'The newest complete listing; an item that it did not name is gone. is_listing: it is not complete yet.';
COMMENT ON COLUMN knowledge_sources.revision IS 'Grows with each step of a sync: what was read before another''s step is not worked in.';

CREATE TABLE knowledge_source_items (
    organization_id uuid NOT NULL,
    source_id uuid NOT NULL,
    item_key text NOT NULL,
    path text NOT NULL,
    version text NOT NULL,
    media_type text,
    size_bytes bigint,
    url text,
    identity text,
    audience text NOT NULL,
    listing integer NOT NULL,
    is_gone boolean NOT NULL DEFAULT false,
    document_id uuid,
    held_path text,
    held_version text,
    held_audience text,
    PRIMARY KEY (organization_id, source_id, item_key),
    FOREIGN KEY (organization_id, source_id) REFERENCES knowledge_sources
);
COMMENT ON COLUMN knowledge_source_items.document_id IS 'Stays when the document is purged: what was deleted here is not taken in again.';
COMMENT ON TABLE knowledge_source_items IS 'What a source has, and what of it the documents hold; where the two differ, there is something to do.';
CREATE INDEX knowledge_source_items_pending ON knowledge_source_items (organization_id, source_id)
    WHERE is_gone OR held_path IS DISTINCT FROM path OR held_version IS DISTINCT FROM version
       OR held_audience IS DISTINCT FROM audience;
CREATE INDEX knowledge_source_items_identity ON knowledge_source_items (organization_id, source_id, identity)
    WHERE identity IS NOT NULL;

CREATE TABLE knowledge_source_changes (
    organization_id uuid NOT NULL,
    change_id bigint GENERATED ALWAYS AS IDENTITY,
    source_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('added', 'replaced', 'renamed', 'removed', 'permissions', 'failed', 'kept_out')),
    path text NOT NULL,
    was text,
    why text,
    document_id uuid,
    audience text NOT NULL,
    engagement_id uuid,
    at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, change_id),
    FOREIGN KEY (organization_id, source_id) REFERENCES knowledge_sources
);
CREATE INDEX knowledge_source_changes_newest ON knowledge_source_changes (organization_id, source_id, change_id DESC);

CALL glow.isolate('knowledge_source_items');
CALL glow.isolate('knowledge_source_changes');
-- A path tells of what is in a document: it is seen by whom the document is for, and sources are no client's business.
CREATE POLICY visible ON knowledge_source_items AS RESTRICTIVE TO glow_app
    USING ((SELECT glow.role()) <> 'CLIENT' AND ((SELECT glow.sees_all_readers()) OR audience IN ('firm', 'client')
        OR audience = ANY ((SELECT glow.reader_audiences())::text[])));
CREATE POLICY visible ON knowledge_source_changes AS RESTRICTIVE TO glow_app
    USING ((SELECT glow.role()) <> 'CLIENT' AND ((SELECT glow.sees_all_readers()) OR audience IN ('firm', 'client')
        OR audience = ANY ((SELECT glow.reader_audiences())::text[])));
GRANT SELECT, INSERT, UPDATE, DELETE ON knowledge_source_items TO glow_app;
GRANT SELECT, INSERT, DELETE ON knowledge_source_changes TO glow_app;
CALL glow.require_ticket('knowledge_source_items');
CALL glow.require_ticket('knowledge_source_changes');
