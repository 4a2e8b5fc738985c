"""What others would have built: the servers that ours is measured beside."""
