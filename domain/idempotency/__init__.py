"""Idempotency keys: a request that comes twice is done once, and answered alike."""
