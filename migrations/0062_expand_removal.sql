-- A deleted document can be restored until its time is over; then nothing of it is left. What was deleted along with another
-- comes back with it, and goes with it.

SET LOCAL lock_timeout = '5s';

ALTER TABLE knowledge_documents ADD COLUMN deleted_with uuid, ADD COLUMN purge_at timestamptz;
COMMENT ON COLUMN knowledge_documents.deleted_with IS 'Whose deletion took it along; its own id where it was what somebody deleted. NULL of a deleted one: before that was kept.';
COMMENT ON COLUMN knowledge_documents.purge_at IS 'Until when a deleted document can be restored. NULL of a deleted one: for good, since it was deleted when that was the rule.';
CREATE INDEX knowledge_documents_deleted ON knowledge_documents (organization_id, deleted_at DESC, document_id DESC)
    WHERE deleted_at IS NOT NULL;
CREATE INDEX knowledge_documents_purged ON knowledge_documents (purge_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX knowledge_documents_deleted_with ON knowledge_documents (organization_id, deleted_with)
    WHERE deleted_with IS NOT NULL;
-- Also of deleted ones: a purge asks what lies inside.
CREATE INDEX knowledge_documents_inside ON knowledge_documents (organization_id, parent_id) WHERE parent_id IS NOT NULL;
GRANT SELECT (deleted_with, purge_at) ON knowledge_documents TO glow_service;
-- Words that no passage has any more go with the last document that had them.
GRANT DELETE ON knowledge_terms TO glow_app;
