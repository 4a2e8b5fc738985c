"""What the postgres modules of every noun share."""
