"""The texts of organizations' own policies, kept by digest: a call's facts bring the digest alone."""

from collections import OrderedDict

from domain.policies.model import OwnPolicies, UnreadPolicies
from domain.policies.postgres import PostgresPolicies
from domain.policies.service import PolicyService
from server.database.connection import PooledConnection

_KEPT = 256


class KeptPolicies:
    """The sets that this process met last. A digest is of one set only, so what is kept never ages."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, OwnPolicies] = OrderedDict()

    async def read(self, connection: PooledConnection, wanted: UnreadPolicies) -> OwnPolicies | UnreadPolicies:
        """The set, read in the organization's context where it is not kept; as it came where the database has no such.

        What was read is held to its digest: otherwise a row that somebody bent would be kept for an organization whose
        policies have that digest.
        """
        found = self._kept.get(wanted.digest)
        if found is None:
            found = await PolicyService(PostgresPolicies(connection)).at(wanted.digest)
            if found is None:
                return wanted
            self._kept[wanted.digest] = found
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(wanted.digest)
        return found
