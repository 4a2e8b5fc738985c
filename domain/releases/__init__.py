"""Release controls and the sign-offs they need."""
