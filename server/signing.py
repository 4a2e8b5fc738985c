"""The key that heads of the ledger are signed with (Ed25519): GLOW_LEDGER_KEY, else one that GLOW_HOME keeps."""

import base64
import binascii
import hashlib

KEY_BYTES = 32


class LedgerKey:
    """A private key; satisfies domain.ledger.ports.Signer."""

    def __init__(self, seed: bytes) -> None:
        # Imported with the first key: a process that never signs does not load it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()
        self.key_id = hashlib.sha256(self.public_key).hexdigest()

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(message)


def seed_of(text: str) -> bytes:
    """The 32 bytes of a key, from base64 with either alphabet, padded or not.

    Raises  ValueError: it is none.
    """
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        seed = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        seed = b""
    if len(seed) != KEY_BYTES:
        raise ValueError(f"not {KEY_BYTES} bytes in base64; `openssl rand -base64 32` makes a key")
    return seed


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature over the message is by the private half of this key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
