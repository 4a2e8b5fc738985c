-- A new version of a document takes the place of the last in one transaction, and so does a document that is cut up anew:
-- what was prepared waits beside what is found, and so do the vectors that it will be found by.

SET LOCAL lock_timeout = '5s';

ALTER TABLE knowledge_documents
    ADD COLUMN line_id uuid,
    ADD COLUMN edition integer NOT NULL DEFAULT 1,
    ADD COLUMN replaced_by uuid,
    ADD COLUMN replaced_at timestamptz,
    ADD COLUMN prepared_as text;
COMMENT ON COLUMN knowledge_documents.line_id IS 'The first version of a document that has several; NULL: it has one.';
COMMENT ON COLUMN knowledge_documents.edition IS 'Which version of its line it is.';
COMMENT ON COLUMN knowledge_documents.replaced_by IS 'The version that is found in its stead. Its text stays, and is read by whoever cites it.';
COMMENT ON COLUMN knowledge_documents.prepared_as IS 'How its file was read and cut up (knowledge.prepare); NULL: before that was kept.';
CREATE INDEX knowledge_documents_line ON knowledge_documents (organization_id, line_id) WHERE line_id IS NOT NULL;
CREATE INDEX knowledge_documents_named ON knowledge_documents (organization_id, md5(uri)) WHERE deleted_at IS NULL;
CREATE INDEX knowledge_documents_content ON knowledge_documents (organization_id, content_sha256);
CREATE INDEX knowledge_documents_prepared ON knowledge_documents (prepared_as)
    WHERE status = 'ready' AND deleted_at IS NULL AND replaced_by IS NULL;
GRANT SELECT (replaced_by, prepared_as) ON knowledge_documents TO glow_service;

ALTER TABLE knowledge_embeddings ADD COLUMN digest bytea;
COMMENT ON COLUMN knowledge_embeddings.digest IS 'SHA-256 of what was embedded: the same text is not embedded again. NULL: before that was kept.';
CREATE INDEX knowledge_embeddings_digest ON knowledge_embeddings (organization_id, digest) WHERE digest IS NOT NULL;

CREATE TABLE knowledge_staged (
    organization_id uuid NOT NULL,
    document_id uuid NOT NULL,
    prepared bytea NOT NULL,
    prepared_as text NOT NULL,
    chunk_count integer NOT NULL,
    embedded_count integer NOT NULL DEFAULT 0,
    staged_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, document_id),
    FOREIGN KEY (organization_id, document_id) REFERENCES knowledge_documents
);
ALTER TABLE knowledge_staged ALTER COLUMN prepared SET STORAGE EXTERNAL;

CREATE TABLE knowledge_kept_vectors (
    organization_id uuid NOT NULL,
    document_id uuid NOT NULL,
    model text NOT NULL,
    digest bytea NOT NULL,
    embedding halfvec NOT NULL,
    PRIMARY KEY (organization_id, document_id, model, digest),
    FOREIGN KEY (organization_id, document_id) REFERENCES knowledge_documents
);
COMMENT ON TABLE knowledge_kept_vectors IS 'Vectors whose passages are not found yet, or not now: those of a version that is being prepared. They go with their document.';
ALTER TABLE knowledge_kept_vectors ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE INDEX knowledge_kept_vectors_digest ON knowledge_kept_vectors (organization_id, digest);

CALL glow.isolate('knowledge_staged');
CALL glow.isolate('knowledge_kept_vectors');
CREATE POLICY visible ON knowledge_staged AS RESTRICTIVE TO glow_app
    USING (EXISTS (SELECT FROM knowledge_documents d WHERE d.organization_id = knowledge_staged.organization_id
                   AND d.document_id = knowledge_staged.document_id));
CREATE POLICY visible ON knowledge_kept_vectors AS RESTRICTIVE TO glow_app
    USING (EXISTS (SELECT FROM knowledge_documents d WHERE d.organization_id = knowledge_kept_vectors.organization_id
                   AND d.document_id = knowledge_kept_vectors.document_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON knowledge_staged, knowledge_kept_vectors TO glow_app;
GRANT SELECT (organization_id, document_id, staged_at) ON knowledge_staged TO glow_service;
CREATE POLICY service ON knowledge_staged TO glow_service USING (true);
CALL glow.require_ticket('knowledge_staged');
CALL glow.require_ticket('knowledge_kept_vectors');
