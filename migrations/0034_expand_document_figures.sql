-- Figures that code found in documents, with the place where each stands: read and cited by whoever sees the document.

CREATE TABLE document_figures (
    organization_id uuid NOT NULL,
    figure_id uuid NOT NULL,
    document_id uuid NOT NULL,
    label text NOT NULL,
    printed text NOT NULL,
    amount numeric NOT NULL,
    unit text NOT NULL,
    start_at integer NOT NULL,
    end_at integer NOT NULL,
    page integer,
    call_id uuid NOT NULL,
    found_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, figure_id),
    FOREIGN KEY (organization_id, document_id) REFERENCES knowledge_documents
);
CREATE INDEX document_figures_document ON document_figures (organization_id, document_id, start_at);

CALL glow.isolate('document_figures');
CREATE POLICY visible ON document_figures AS RESTRICTIVE TO glow_app
    USING (EXISTS (SELECT FROM knowledge_documents d WHERE d.organization_id = document_figures.organization_id
                   AND d.document_id = document_figures.document_id));
GRANT SELECT, INSERT, DELETE ON document_figures TO glow_app;
CALL glow.require_ticket('document_figures');
