-- What of a source could not be read and may be read later, without any change of it: when it is tried again. And a source can
-- be changed: what its documents are called by is so for all their readers at once.

SET LOCAL lock_timeout = '5s';

ALTER TABLE knowledge_source_items
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    ADD COLUMN retry_at timestamptz;
COMMENT ON COLUMN knowledge_source_items.failures IS 'How often in a row it could not be read, as it is now; 0: it was read, or never tried.';
COMMENT ON COLUMN knowledge_source_items.retry_at IS 'A sync from then on tries it again; NULL: it is not tried before it has changed.';
CREATE INDEX knowledge_source_items_failing ON knowledge_source_items (organization_id, source_id) WHERE failures > 0;

-- Why those failed of which there never was a document, nothing says any more: they are tried once again.
UPDATE knowledge_source_items SET failures = 1, retry_at = now()
WHERE document_id IS NULL AND held_version = version AND NOT is_gone;

-- The newest statement of glow.entering. New: source_change, which hands nothing of a document to anybody either.
CREATE OR REPLACE FUNCTION glow.entering(tool text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('glow.of_tool', CASE WHEN tool IN ('document_index', 'document_embed', 'document_analyse',
        'document_purge', 'source_change', 'source_remove', 'source_sync') THEN tool ELSE '' END, true);
    RETURN tool;
END $$;
