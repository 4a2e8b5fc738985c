"""What is held of one person in one organization: handed out to whom it concerns, and erased."""
