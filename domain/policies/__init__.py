"""The organization's own policies, beside those that hold for every organization."""
