"""Figures computed from the record, never from a model's head."""
