"""Bytes of a document to its canonical text and the blocks it is made of."""
