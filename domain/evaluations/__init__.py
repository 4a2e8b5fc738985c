"""What search and answers measured against judged sets, and how that compares with the last time."""
