"""A second look at what a search found first: who gives it, how it is asked, and what a search is without it."""
