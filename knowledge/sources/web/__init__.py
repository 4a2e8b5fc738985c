"""A site of the web as a source of documents."""
