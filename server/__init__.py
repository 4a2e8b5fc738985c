"""The doors, the composition root, and everything that knows HTTP, MCP or a socket."""
