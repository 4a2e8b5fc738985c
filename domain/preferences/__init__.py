"""Preferences: what a person asked to have remembered of how the agent speaks to them."""
