-- The bytes of a file may be kept outside of the database, by whose they are and what they hold: then there is the row, and no
-- content in it.

SET LOCAL lock_timeout = '5s';

ALTER TABLE knowledge_files ALTER COLUMN content DROP NOT NULL;
COMMENT ON COLUMN knowledge_files.content IS 'NULL: the bytes are where GLOW_FILES says, under the organization and the SHA-256 that the document has.';
-- Who removes kept files that no document has must know which digests there are.
GRANT SELECT (content_sha256) ON knowledge_documents TO glow_service;
