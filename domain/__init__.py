"""The rules of the firm, free of HTTP, MCP, models and agents: the floor everything else stands on."""
