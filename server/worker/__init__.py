"""The door of background work: jobs from the durable queue, each step of which is a call through the gate."""
