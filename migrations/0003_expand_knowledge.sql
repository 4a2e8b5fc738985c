-- Documents and what search needs of them. Audience, engagement and trust stand on every row that search touches, so
-- that permissions hold inside it and cost no join.

CREATE TABLE knowledge_sources (
    organization_id uuid NOT NULL REFERENCES organizations,
    source_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('google_drive', 'web', 'folder')),
    name text NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, source_id)
);

CREATE TABLE knowledge_documents (
    organization_id uuid NOT NULL REFERENCES organizations,
    document_id uuid NOT NULL,
    source_id uuid,
    title text NOT NULL,
    uri text NOT NULL,
    media_type text NOT NULL,
    audience text NOT NULL CHECK (audience IN ('firm', 'client')),
    engagement_id uuid,
    trust text NOT NULL CHECK (trust IN ('internal', 'client', 'external')),
    status text NOT NULL CHECK (status IN ('queued', 'parsing', 'embedding', 'ready', 'failed')),
    failure text,
    size_bytes bigint NOT NULL,
    content_sha256 bytea NOT NULL,
    text text,
    page_starts integer[] NOT NULL DEFAULT '{}',
    token_count integer NOT NULL DEFAULT 0,
    chunk_count integer NOT NULL DEFAULT 0,
    term_count bigint NOT NULL DEFAULT 0,
    version integer NOT NULL DEFAULT 1,
    uploaded_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (organization_id, document_id),
    FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements,
    FOREIGN KEY (organization_id, source_id) REFERENCES knowledge_sources,
    FOREIGN KEY (organization_id, uploaded_by) REFERENCES memberships,
    CHECK (audience = 'firm' OR engagement_id IS NOT NULL)
);
COMMENT ON COLUMN knowledge_documents.term_count IS 'Terms of all its chunks: with chunk_count what BM25 needs of a corpus, without reading the chunks.';
COMMENT ON COLUMN knowledge_documents.page_starts IS 'Code point at which each page begins, page 1 first; empty without pages.';
CREATE INDEX knowledge_documents_listed ON knowledge_documents (organization_id, created_at DESC, document_id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX knowledge_documents_unfinished ON knowledge_documents (updated_at) WHERE status IN ('queued', 'parsing');

CREATE TABLE knowledge_files (
    organization_id uuid NOT NULL,
    document_id uuid NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (organization_id, document_id),
    FOREIGN KEY (organization_id, document_id) REFERENCES knowledge_documents
);
ALTER TABLE knowledge_files ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE knowledge_chunks (
    organization_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    document_id uuid NOT NULL,
    ordinal integer NOT NULL,
    start_offset integer NOT NULL,
    end_offset integer NOT NULL CHECK (end_offset > start_offset),
    page integer,
    section text,
    text text NOT NULL,
    token_count integer NOT NULL,
    length integer NOT NULL,
    audience text NOT NULL,
    engagement_id uuid,
    trust text NOT NULL,
    PRIMARY KEY (organization_id, chunk_id),
    UNIQUE (organization_id, document_id, ordinal),
    FOREIGN KEY (organization_id, document_id) REFERENCES knowledge_documents
);

CREATE TABLE knowledge_terms (
    organization_id uuid NOT NULL REFERENCES organizations,
    term_id bigint GENERATED ALWAYS AS IDENTITY,
    term text NOT NULL,
    PRIMARY KEY (organization_id, term_id),
    UNIQUE (organization_id, term)
);

CREATE TABLE knowledge_postings (
    organization_id uuid NOT NULL,
    term_id bigint NOT NULL,
    chunk_id uuid NOT NULL,
    frequency integer NOT NULL CHECK (frequency > 0),
    length integer NOT NULL,
    audience text NOT NULL,
    engagement_id uuid,
    trust text NOT NULL,
    FOREIGN KEY (organization_id, chunk_id) REFERENCES knowledge_chunks,
    FOREIGN KEY (organization_id, term_id) REFERENCES knowledge_terms
);
-- The covering index is the search: under row level security a GIN index is switched off, an index-only scan is not.
CREATE UNIQUE INDEX knowledge_postings_search ON knowledge_postings (organization_id, term_id, chunk_id)
    INCLUDE (frequency, length, audience, engagement_id);
CREATE INDEX knowledge_postings_chunk ON knowledge_postings (organization_id, chunk_id);

CREATE TABLE knowledge_embeddings (
    organization_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    model text NOT NULL,
    embedding halfvec NOT NULL,
    audience text NOT NULL,
    engagement_id uuid,
    PRIMARY KEY (organization_id, chunk_id, model),
    FOREIGN KEY (organization_id, chunk_id) REFERENCES knowledge_chunks
);

CALL glow.isolate('knowledge_sources');
CALL glow.isolate('knowledge_documents');
CALL glow.isolate('knowledge_files');
CALL glow.isolate('knowledge_chunks');
CALL glow.isolate('knowledge_terms');
CALL glow.isolate('knowledge_postings');
CALL glow.isolate('knowledge_embeddings');

CREATE POLICY visible ON knowledge_documents AS RESTRICTIVE TO glow_app
    USING (glow.may_see(audience, engagement_id)) WITH CHECK (glow.may_see(audience, engagement_id));
CREATE POLICY visible ON knowledge_chunks AS RESTRICTIVE TO glow_app
    USING (glow.may_see(audience, engagement_id)) WITH CHECK (glow.may_see(audience, engagement_id));
CREATE POLICY visible ON knowledge_postings AS RESTRICTIVE TO glow_app
    USING (glow.may_see(audience, engagement_id)) WITH CHECK (glow.may_see(audience, engagement_id));
CREATE POLICY visible ON knowledge_embeddings AS RESTRICTIVE TO glow_app
    USING (glow.may_see(audience, engagement_id)) WITH CHECK (glow.may_see(audience, engagement_id));
CREATE POLICY visible ON knowledge_files AS RESTRICTIVE TO glow_app
    USING (EXISTS (SELECT FROM knowledge_documents d WHERE d.organization_id = knowledge_files.organization_id
                   AND d.document_id = knowledge_files.document_id));
-- Sources hold settings of the firm's own; a CLIENT has no business there.
CREATE POLICY visible ON knowledge_sources AS RESTRICTIVE TO glow_app USING (glow.role() <> 'CLIENT');

GRANT SELECT, INSERT, UPDATE, DELETE ON knowledge_sources, knowledge_documents, knowledge_files, knowledge_chunks,
    knowledge_postings, knowledge_embeddings TO glow_app;
GRANT SELECT, INSERT ON knowledge_terms TO glow_app;

CALL glow.require_ticket('knowledge_sources');
CALL glow.require_ticket('knowledge_documents');
CALL glow.require_ticket('knowledge_files');
CALL glow.require_ticket('knowledge_chunks');
CALL glow.require_ticket('knowledge_terms');
CALL glow.require_ticket('knowledge_postings');
CALL glow.require_ticket('knowledge_embeddings');
