"""Measures search and answers against a judged set, by the paths that everybody's questions take."""
