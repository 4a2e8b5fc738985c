"""Whose signatures count: keys that came along, those that are trusted, and how one key follows another."""

import hashlib
from collections.abc import Callable, Iterable

from domain.ledger.findings import Fault, FaultCode, KeyChange
from domain.ledger.wire import HeadLine, KeyLine, RotationLine

IsSigned = Callable[[bytes, bytes, bytes], bool]
"""Whether a public key, a message and a signature belong together."""


FIRST_HEADS = 200
EVERY_ROWS = 10_000


class Signatures:
    """Which keys are known, which are trusted, and whether heads are signed by them.

    Of an export with very many heads not each signature is checked, unless that is asked for (`every`): those of the
    FIRST_HEADS, then one in EVERY_ROWS rows, the first and the last of each key, and those of kept sizes. Nothing about
    a row hangs on the others: each head is held to the rows by its root and its chain, and the next one that is checked
    is over the same rows. What would go unseen is that a head between two of one key was not signed by it, or says
    another time; and it is said how many were not checked.
    """

    def __init__(self, is_signed: IsSigned, trusted: Iterable[str] = (), *, every: bool = False) -> None:
        """`trusted`: ids of keys known from elsewhere, and so those that they vouch for; none: any that comes along."""
        self._is_signed = is_signed
        self._trusted = set(trusted)
        self._every = every
        self._known: dict[str, bytes] = {}
        self._offered: set[str] = set()
        """Which keys may sign the next head, says the one that signed the last."""
        self._changes: dict[tuple[str, str, bool], KeyChange] = {}
        self.signer: str | None = None
        """Of the last head."""
        self._heads = 0
        self.checked = 0
        """Signatures of heads."""
        self._before = 0
        """Rows under the last head."""
        self._signed = 0
        """Rows under a head whose signature was checked."""
        self._open: HeadLine | None = None
        """The last head, where its signature was not checked yet."""

    @property
    def changes(self) -> list[KeyChange]:
        """Where heads were signed by another key than those before."""
        return list(self._changes.values())

    def add(self, key: KeyLine) -> bool:
        """Know a key; False: its id is not its own."""
        self._known[key.key_id] = bytes.fromhex(key.public_key)
        return _id_of(key.public_key) == key.key_id

    def fault_of(self, head: HeadLine, *, at_once: bool = False) -> Fault | None:
        """Why a head, or the one before, counts for nothing; None: they do, as far as they were checked."""
        rows = (self._before, head.size - 1)
        if head.key_id not in self._known:
            return _fault(
                "key", f"the head of size {head.size} is signed by a key that is not there: {head.key_id}", rows
            )
        if self._trusted and head.key_id not in self._trusted:
            words = f"the head of size {head.size} is signed by a key that you do not trust: {head.key_id}"
            return _fault("key", words, rows)
        is_new = self.signer != head.key_id
        fault = self.fault_at_end() if is_new else None
        if fault is not None:
            return fault
        due = is_new or self._heads < FIRST_HEADS or head.size - self._signed >= EVERY_ROWS
        self._follow(head)
        return self.fault_at_end() if due or at_once or self._every else None

    def fault_at_end(self) -> Fault | None:
        """Why the last head counts for nothing; None: it does, or was checked before."""
        head, self._open = self._open, None
        if head is None:
            return None
        if not self._is_signed(self._known[head.key_id], head.signed_bytes(), bytes.fromhex(head.signature)):
            words = f"the signature of the head of size {head.size} is not over what it says"
            return _fault("signature", words, (self._signed, head.size - 1))
        self.checked += 1
        self._signed = head.size
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
        self._heads += 1
        self._before = head.size
        self._open = head


def _fault(code: FaultCode, words: str, rows: tuple[int, int]) -> Fault:
    return Fault(code=code, words=words, row=rows[0], last_row=rows[1])


def _id_of(public_key: str) -> str:
    return hashlib.sha256(bytes.fromhex(public_key)).hexdigest()
