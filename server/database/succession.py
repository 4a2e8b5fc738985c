"""How one signing key follows another, as the sealer records it: signed by both where it is given both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.kernel import OrganizationId
from domain.ledger.model import Rotation, Succession
from domain.ledger.ports import Signer
from server.database.connection import AnyConnection

# The organizations that a key has signed for, and whose newest head is by it.
SIGNED_BY = """
SELECT h.organization_id, h.size, h.key_id
FROM (SELECT DISTINCT organization_id FROM ledger_keys WHERE key_id = ANY ($1)) o
CROSS JOIN LATERAL (
    SELECT l.organization_id, l.size, l.key_id FROM ledger_heads l
    WHERE l.organization_id = o.organization_id ORDER BY l.size DESC LIMIT 1) h
WHERE h.key_id = ANY ($1)
"""
ADD = """
INSERT INTO ledger_rotations (organization_id, after_size, from_key_id, to_key_id, to_public_key, rotated_at,
    from_signature, to_signature)
SELECT organization_id, after_size, from_key_id, $6, $7, $8, from_signature, to_signature
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[])
    AS r (organization_id, after_size, from_key_id, from_signature, to_signature)
ON CONFLICT (organization_id, after_size, to_key_id) DO NOTHING
"""
RETIRE = """
INSERT INTO queue.sealing (system_identifier, retired_keys) VALUES ($1, $2)
ON CONFLICT (one) DO UPDATE SET retired_keys = array_remove(
    ARRAY(SELECT DISTINCT k FROM unnest(queue.sealing.retired_keys || EXCLUDED.retired_keys) k), $3)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An organization's newest head, and who has signed it."""

    organization_id: OrganizationId
    size: int
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The key that signs, and those before it that were kept to vouch for it."""

    signer: Signer
    previous: Mapping[str, Signer]
    """By their ids."""

    @classmethod
    def of(cls, signer: Signer, previous: Sequence[Signer] = ()) -> "Keys":
        """The one that signs is none of those before it."""
        return cls(signer=signer, previous={each.key_id: each for each in previous if each.key_id != signer.key_id})

    def vouches(self, key_id: str | None) -> bool:
        """Whether the key of that id can be made to say that this one follows it."""
        return key_id in self.previous

    def rotation(self, signed: Signed, at: datetime) -> Rotation:
        """Signed by the key of that head, which must be here, and by the one that follows it."""
        before = self.previous[signed.key_id]
        succession = Succession(
            organization_id=signed.organization_id,
            after_size=signed.size,
            from_key_id=before.key_id,
            from_public_key=before.public_key,
            to_key_id=self.signer.key_id,
            to_public_key=self.signer.public_key,
            rotated_at=at,
        )
        message = succession.signed_bytes()
        return Rotation(
            succession=succession, from_signature=before.sign(message), to_signature=self.signer.sign(message)
        )


async def retire_previous(connection: AnyConnection, keys: Keys, system_identifier: int, at: datetime) -> None:
    """Have the keys before say to every organization that this one follows; whoever still has them signs no more."""
    rows = await connection.fetch(SIGNED_BY, list(keys.previous))
    signed = [
        Signed(organization_id=OrganizationId(row["organization_id"]), size=row["size"], key_id=row["key_id"])
        for row in rows
    ]
    await add_rotations(connection, keys, [keys.rotation(each, at) for each in signed], at)
    await connection.execute(RETIRE, system_identifier, list(keys.previous), keys.signer.key_id)


async def add_rotations(connection: AnyConnection, keys: Keys, rotations: Sequence[Rotation], at: datetime) -> None:
    """Those that were recorded already are left as they are."""
    if rotations:
        said = [each.succession for each in rotations]
        await connection.execute(
            ADD,
            [each.organization_id for each in said],
            [each.after_size for each in said],
            [each.from_key_id for each in said],
            [each.from_signature for each in rotations],
            [each.to_signature for each in rotations],
            keys.signer.key_id,
            keys.signer.public_key,
            at,
        )
