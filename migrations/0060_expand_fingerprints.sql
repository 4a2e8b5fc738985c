-- Passages that say the same are shown once: a sketch of each one's words, a digest of its figures, and how many words it has.

ALTER TABLE knowledge_chunks ADD COLUMN simhash bigint, ADD COLUMN figures bigint, ADD COLUMN words integer;
COMMENT ON COLUMN knowledge_chunks.words IS 'NULL, as simhash and figures are, until the passage is analysed again.';
