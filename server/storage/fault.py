"""What a place of files says when it cannot do what it is asked."""

from tools.ports import Unavailable


class StorageUnavailable(Unavailable):
    """The place does not answer as it should now; the same request may succeed later (a door answers 503)."""
