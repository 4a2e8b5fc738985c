"""How far the agent goes without asking."""
