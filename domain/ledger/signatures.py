"""Whose signatures count: keys that came along, those that are trusted, and how one key follows another."""

import hashlib
from collections.abc import Callable, Iterable

from domain.ledger.findings import FaultCode, KeyChange
from domain.ledger.wire import HeadLine, KeyLine, RotationLine

IsSigned = Callable[[bytes, bytes, bytes], bool]
"""Whether a public key, a message and a signature belong together."""


class Signatures:
    """Which keys are known, which are trusted, and whether heads are signed by them."""

    def __init__(self, is_signed: IsSigned, trusted: Iterable[str] = ()) -> None:
        """`trusted`: ids of keys known from elsewhere, and so those that they vouch for; none: any that comes along."""
        self._is_signed = is_signed
        self._trusted = set(trusted)
        self._known: dict[str, bytes] = {}
        self._offered: set[str] = set()
        """Which keys may sign the next head, says the one that signed the last."""
        self._changes: dict[tuple[str, str, bool], KeyChange] = {}
        self.signer: str | None = None
        """Of the last head."""

    @property
    def changes(self) -> list[KeyChange]:
        """Where heads were signed by another key than those before."""
        return list(self._changes.values())

    def add(self, key: KeyLine) -> bool:
        """Know a key; False: its id is not its own."""
        self._known[key.key_id] = bytes.fromhex(key.public_key)
        return _id_of(key.public_key) == key.key_id

    def fault_of(self, head: HeadLine) -> tuple[FaultCode, str] | None:
        """Why a head counts for nothing; None: it does."""
        key = self._known.get(head.key_id)
        if key is None:
            return "key", f"the head of size {head.size} is signed by a key that is not there: {head.key_id}"
        if self._trusted and head.key_id not in self._trusted:
            return "key", f"the head of size {head.size} is signed by a key that you do not trust: {head.key_id}"
        if not self._is_signed(key, head.signed_bytes(), bytes.fromhex(head.signature)):
            return "signature", f"the signature of the head of size {head.size} is not over what it says"
        self._follow(head)
        return None

    def fault_of_rotation(self, rotation: RotationLine) -> str | None:
        """Why a rotation counts for nothing; None: it does, and who trusts the one key trusts the other."""
        for key_id, public_key, signature in (
            (rotation.from_key_id, rotation.from_public_key, rotation.from_signature),
            (rotation.to_key_id, rotation.to_public_key, rotation.to_signature),
        ):
            if _id_of(public_key) != key_id:
                return f"a key's id is not its own: {key_id}"
            if not self._is_signed(bytes.fromhex(public_key), rotation.signed_bytes(), bytes.fromhex(signature)):
                return f"the rotation after size {rotation.after_size} is not signed by {key_id}"
        self._offered.add(rotation.to_key_id)
        if rotation.from_key_id in self._trusted:
            self._trusted.add(rotation.to_key_id)
        return None

    def _follow(self, head: HeadLine) -> None:
        before, now = self.signer, head.key_id
        if before is not None and before != now:
            endorsed = now in self._offered
            change = self._changes.setdefault(
                (before, now, endorsed),
                KeyChange(from_key_id=before, to_key_id=now, size=head.size, endorsed=endorsed, times=0),
            )
            change.times += 1
        self.signer = now
        self._offered.clear()


def _id_of(public_key: str) -> str:
    return hashlib.sha256(bytes.fromhex(public_key)).hexdigest()
