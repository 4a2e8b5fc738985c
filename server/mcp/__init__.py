"""The MCP door: tools for any MCP client, over streamable HTTP at /mcp, always as an agent."""
