"""The widget door: short sessions for a chat on another origin's page; what they open is the chat door's own code."""
