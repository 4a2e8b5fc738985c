"""`glow doctor`: each module examines one part of an installation."""
