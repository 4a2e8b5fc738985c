"""Google Drive as a source of documents."""
