"""Tasks and their runs: what people and the agent prepare inside the firm."""
