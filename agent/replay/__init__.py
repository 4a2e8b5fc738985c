"""A run told again from what was recorded of it, to see whether the same code still says the same."""
