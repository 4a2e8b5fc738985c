"""The chat door: a message begins a run, and whoever may see the run follows it."""
