"""Figures that code found in documents, each with the place it stands at."""
