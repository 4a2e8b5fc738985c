"""What every door of HTTP shares: bodies read strictly, problems answered, requests marked, headers set."""
