"""What may be spent: by an organization, a member and a run; of money, tokens and calls."""
