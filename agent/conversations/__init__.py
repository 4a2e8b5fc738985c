"""Conversations, their messages and their runs: what was said, kept so that any process can go on from it."""
