"""The record sealed: a Merkle tree an organization over its events, and heads signed over it."""
