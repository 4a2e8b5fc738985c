-- Passages are found by meaning too: their vectors, which document has them, and what is left to be embedded.

ALTER TABLE knowledge_documents ADD COLUMN embedding_model text;
COMMENT ON COLUMN knowledge_documents.embedding_model IS 'The model that all its passages have vectors of, or by which some will get none (then failure says why); NULL: none yet.';

-- Inline: a vector in the table for oversized values would cost two look-ups more, and a question is compared with
-- thousands. What halfvec takes in an index (4,000 numbers) fits into a page.
ALTER TABLE knowledge_embeddings ALTER COLUMN embedding SET STORAGE PLAIN;

-- One index a model, over its dimensions; `glow migrate` makes that of another configured model.
CREATE INDEX knowledge_embeddings_text_embedding_3_small ON knowledge_embeddings
    USING hnsw ((embedding::halfvec(1536)) halfvec_cosine_ops) WHERE model = 'text-embedding-3-small';

-- For the sweep.
CREATE INDEX knowledge_documents_embedding ON knowledge_documents (updated_at)
    WHERE status = 'embedding' AND deleted_at IS NULL;
CREATE INDEX knowledge_documents_embedded ON knowledge_documents (embedding_model)
    WHERE status = 'ready' AND deleted_at IS NULL;
CREATE INDEX knowledge_documents_given_up ON knowledge_documents (updated_at)
    WHERE status = 'ready' AND failure IS NOT NULL AND deleted_at IS NULL;
GRANT SELECT (embedding_model, failure) ON knowledge_documents TO glow_service;
