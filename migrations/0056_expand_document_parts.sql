-- What lies inside of an archive or a message becomes documents of their own, which stand and fall with it; and what of a
-- file is not in its text is said beside it.

SET LOCAL lock_timeout = '5s';

ALTER TABLE knowledge_documents
    ADD COLUMN parent_id uuid,
    ADD COLUMN note text,
    ADD CONSTRAINT knowledge_documents_parent FOREIGN KEY (organization_id, parent_id)
        REFERENCES knowledge_documents (organization_id, document_id) NOT VALID;
COMMENT ON COLUMN knowledge_documents.parent_id IS 'The upload inside of which it came; never itself a part, so that a tree has two levels.';
CREATE INDEX knowledge_documents_parts ON knowledge_documents (organization_id, parent_id)
    WHERE parent_id IS NOT NULL AND deleted_at IS NULL;
