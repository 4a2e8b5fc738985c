"""Conversations and runs in SQL: a principal's own under row level security, the log, and the keeper of runs."""
