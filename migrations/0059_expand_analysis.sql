-- Words are stemmed in the language of their document, and documents that another analysis indexed are found out.

ALTER TABLE knowledge_documents
    ADD COLUMN language_said text,
    ADD COLUMN language text,
    ADD COLUMN analysis_version smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN knowledge_documents.language_said IS 'What whoever uploaded it says it is written in; NULL: its words tell.';
COMMENT ON COLUMN knowledge_documents.language IS 'What its words are stemmed as; NULL: they are as written.';
COMMENT ON COLUMN knowledge_documents.analysis_version IS 'Of the analyser that its postings are from (knowledge/terms.py); 0: of one before there were versions.';

-- For the sweep.
CREATE INDEX knowledge_documents_analysed ON knowledge_documents (analysis_version)
    WHERE status IN ('embedding', 'ready') AND deleted_at IS NULL;
GRANT SELECT (analysis_version) ON knowledge_documents TO glow_service;
