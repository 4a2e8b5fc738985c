"""The record of what happened, on whose authority, by which rule."""
