-- A document may have whole vectors of several models: processes that are set to different ones leave one another's be.

SET LOCAL lock_timeout = '5s';

-- Nothing is filled in: the model of embedding_model counts beside these.
ALTER TABLE knowledge_documents ADD COLUMN embedding_models text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN knowledge_documents.embedding_models IS 'Models that all its passages have vectors of; embedding_model is the one it was last embedded by.';
GRANT SELECT (embedding_models) ON knowledge_documents TO glow_service;
