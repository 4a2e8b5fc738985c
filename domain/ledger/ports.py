"""What the ledger needs from outside: a key to sign heads with."""

from typing import Protocol


class Signer(Protocol):
    """A key that signs heads (Ed25519)."""

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key, as hex: whoever knows it from elsewhere need not trust a copy of the key."""
        ...

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...
