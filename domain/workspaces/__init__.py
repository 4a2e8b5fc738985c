"""Which Slack workspace belongs to the firm, and who answers in its channels."""
