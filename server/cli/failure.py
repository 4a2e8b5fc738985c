"""What a command raises when it cannot do what was asked."""


class CommandFailed(Exception):
    """The words say why, to a person at a terminal."""
