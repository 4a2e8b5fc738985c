"""What the record says of the agent's calls, tool by tool, and the autonomy that is proposed or taken back for it."""
