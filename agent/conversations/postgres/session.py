"""The one transaction that every store of this folder works in."""

from domain.kernel import Principal
from domain.storage.postgres import Connection


class PostgresSession:
    """What one principal's transaction gives: the connection, in that principal's context, and who it is."""

    def __init__(self, connection: Connection, principal: Principal) -> None:
        self._connection = connection
        self._principal = principal
