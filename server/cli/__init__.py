"""The door of the command line: `glow`, for whoever runs an installation and for a person's own hand at a terminal."""
