"""Passages and questions as vectors: what an embedding server gives, how it is asked, and where vectors are kept."""
