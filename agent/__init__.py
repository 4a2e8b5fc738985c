"""The conversation: orchestrator, loop, events, context and model providers."""
