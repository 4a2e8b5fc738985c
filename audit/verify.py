#!/usr/bin/env python3
# pyright: basic, reportOptionalSubscript=false
"""Checks an export, a proof or a head of a Prisma Glow ledger. One file, Python 3.8 or newer, nothing to install.

    python3 verify.py export.ndjson                         is every row as it was sealed?
    python3 verify.py export.ndjson --head kept.json        ... and nothing removed or rewritten since that head?
    python3 verify.py export.ndjson --key-id ID             ... and signed by the key that I was told of?
    python3 verify.py export.ndjson --list-erased           ... and which rows have lost what they carried?
    python3 verify.py proof.json                            is this call in the ledger?
    python3 verify.py proof.json --head kept.json           ... and in the one whose head I kept?
    python3 verify.py head.json --head kept.json            is the kept head of the beginning of this one?

Exit status 0: all holds. 1: it does not, and the first bad row is named. 2: wrong usage.

What is checked, in short (docs/ledger.md has it in full): each line is canonical JSON; a row's event, as such,
hashes to its leaf (SHA-256 of 0x00 and the text); the chain after a row is SHA-256 of 0x02, the chain before and the
leaf; a head's root is that of the Merkle tree of RFC 6962 over all leaves so far; its signature is over "glow ledger
head", a newline and its other members, by Ed25519 (RFC 8032), which is done here too. What a call carried or gave is
what its digests say, or was erased by an erasure that is in the record. No code of the hub's is used.
"""

import argparse
import hashlib
import json
import re
import sys

HASH = re.compile(r"[0-9a-f]{64}")
SALT = re.compile(r"([0-9a-f]{2})*")
SIGNATURE = re.compile(r"[0-9a-f]{128}")
SALT_BYTES = 16
LARGEST = 2**53
LARGEST_FILE = 64 << 20
"""Bytes of a proof or a head; an export may be of any size."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class Bad(Exception):
    """What does not hold: a code, words, and the first (and, where it is one of several, last) bad row."""

    def __init__(self, code, words, row=None, last_row=None, line=None):
        super().__init__(words)
        self.code, self.words, self.row, self.last_row, self.line = code, words, row, last_row, line


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def canonical(value):
    return _encode(value).encode()


def is_text(value):
    return type(value) is str


def is_hash(value):
    return is_text(value) and HASH.fullmatch(value) is not None


def is_size(value):
    return type(value) is int and 0 <= value <= LARGEST


def is_signature(value):
    return is_text(value) and SIGNATURE.fullmatch(value) is not None


def is_salt(value):
    return is_text(value) and SALT.fullmatch(value) is not None


def is_one(value):
    return type(value) is int and value == 1


HEADER = {
    "exported_at": is_text,
    "organization_id": is_text,
    "payloads": lambda value: type(value) is bool,
    "size": is_size,
    "type": lambda value: value == "ledger",
    "version": is_one,
}
KEY = {
    "from_size": is_size,
    "introduced_at": is_text,
    "key_id": is_hash,
    "public_key": is_hash,
    "type": lambda value: value == "key",
}
HEAD = {
    "chain": is_hash,
    "key_id": is_hash,
    "organization_id": is_text,
    "root": is_hash,
    "sealed_at": is_text,
    "signature": is_signature,
    "size": lambda value: is_size(value) and value > 0,
    "type": lambda value: value == "head",
    "version": is_one,
}
PAYLOAD = {
    "arguments": lambda value: value is None or is_text(value),
    "result": lambda value: value is None or is_text(value),
    "salt": is_salt,
}
EVENT = {
    "chain": is_hash,
    "event": lambda value: value is None or type(value) is dict,
    "index": is_size,
    "leaf": is_hash,
    "payload": lambda value: value is None or fits(value, PAYLOAD),
    "type": lambda value: value == "event",
}
ROTATION = {
    "after_size": lambda value: is_size(value) and value > 0,
    "from_key_id": is_hash,
    "from_public_key": is_hash,
    "from_signature": is_signature,
    "organization_id": is_text,
    "rotated_at": is_text,
    "to_key_id": is_hash,
    "to_public_key": is_hash,
    "to_signature": is_signature,
    "type": lambda value: value == "rotation",
    "version": is_one,
}
BROKEN_OFF = {"type": lambda value: value == "broken_off", "why": is_text}
LINES = {
    "ledger": HEADER,
    "key": KEY,
    "head": HEAD,
    "rotation": ROTATION,
    "event": EVENT,
    "broken_off": BROKEN_OFF,
}


def fits(value, shape):
    """Whether a value is an object of exactly these members."""
    return (
        type(value) is dict and value.keys() == shape.keys() and all(held(value[name]) for name, held in shape.items())
    )


def read_line(raw):
    """A line of an export; None: it is none, or is not written in the one way that counts."""
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw[:-1].decode())
        if type(line) is not dict or not is_text(line.get("type")):
            return None
        shape = LINES.get(line["type"])
        return line if shape is not None and fits(line, shape) and written(line) == raw[:-1] else None
    except (ValueError, RecursionError):
        return None


def written(line):
    """A line as it must be written. Of a row its event, which is most of it, is written once, and kept to be hashed."""
    if line["type"] != "event":
        return canonical(line)
    line["text"] = canonical(line["event"])
    start = f'{{"chain":"{line["chain"]}","event":'
    end = f',"index":{line["index"]},"leaf":"{line["leaf"]}","payload":{_encode(line["payload"])},"type":"event"}}'
    return start.encode() + line["text"] + end.encode()


class Tree:
    """The Merkle tree of RFC 6962 that grows at its right edge."""

    def __init__(self):
        self.size = 0
        self._peaks = []

    def append(self, leaf):
        index = self.size
        while index & 1:
            leaf = sha256(b"\x01", self._peaks.pop(), leaf)
            index >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self):
        if not self._peaks:
            return sha256()
        root = self._peaks[-1]
        for left in reversed(self._peaks[:-1]):
            root = sha256(b"\x01", left, root)
        return root


def root_by_inclusion(leaf, index, size, path):
    """RFC 9162 2.1.3.2; None: the path proves nothing."""
    if not 0 <= index < size:
        return None
    here, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if here & 1 or here == last:
            root = sha256(b"\x01", sibling, root)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            root = sha256(b"\x01", root, sibling)
        here, last = here >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(old, old_root, new, new_root, path):
    """RFC 9162 2.1.4.2, for 0 < old < new."""
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not hashes:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    was = now = hashes[0]
    for each in hashes[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            was, now = sha256(b"\x01", each, was), sha256(b"\x01", each, now)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            now = sha256(b"\x01", now, each)
        here, last = here >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root


FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE = -121665 * pow(121666, FIELD - 2, FIELD) % FIELD
NEUTRAL = (0, 1, 1, 0)


def point_of(text):
    """RFC 8032 5.1.3, in the coordinates of 5.1.4; None: these bytes are no point."""
    y = int.from_bytes(text, "little")
    odd, y = y >> 255, y % 2**255
    above, below = (y * y - 1) % FIELD, (CURVE * y * y + 1) % FIELD
    x = above * pow(below, 3, FIELD) * pow(above * pow(below, 7, FIELD), (FIELD - 5) // 8, FIELD) % FIELD
    if below * x * x % FIELD != above:
        x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    if y >= FIELD or below * x * x % FIELD != above or (x == 0 and odd):
        return None
    x = x if x % 2 == odd else FIELD - x
    return x, y, 1, x * y % FIELD


def point_sum(one, other):
    """RFC 8032 5.1.4."""
    a = (one[1] - one[0]) * (other[1] - other[0])
    b = (one[1] + one[0]) * (other[1] + other[0])
    c = 2 * CURVE * one[3] * other[3] % FIELD
    d = 2 * one[2] * other[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % FIELD, g * h % FIELD, f * g % FIELD, e * h % FIELD


BASE = point_of(bytes([0x58]) + bytes([0x66]) * 31)


def is_signed(key, message, signature):
    """RFC 8032 5.1.7: whether s B - k A is R. Nothing here is secret, so nothing need take the same time always."""
    public, s = point_of(key), int.from_bytes(signature[32:], "little")
    if public is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    minus = (-public[0] % FIELD, public[1], 1, -public[3] % FIELD)
    added = (None, BASE, minus, point_sum(BASE, minus))
    total = NEUTRAL
    for bit in range(ORDER.bit_length() - 1, -1, -1):
        total = point_sum(total, total)
        here = (s >> bit & 1) + 2 * (k >> bit & 1)
        if here:
            total = point_sum(total, added[here])
    scale = pow(total[2], FIELD - 2, FIELD)
    x, y = total[0] * scale % FIELD, total[1] * scale % FIELD
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


class Signatures:
    """Checks signatures by the keys that come along, and follows how one key takes the place of another.

    Where keys are named, only those count, and the keys that they vouch for by a rotation which both have signed.

    Of an export with very many heads not each signature is checked, unless that is asked for (`every`): those of the
    FIRST_HEADS, then one in EVERY_ROWS rows, the first and the last of each key, and those of kept sizes. Nothing about
    a row hangs on the others: each head is held to the rows by its root and its chain, and the next one that is checked
    is over the same rows. What would go unseen is that a head between two of one key was not signed by it, or says
    another time; and it is said how many were not checked.
    """

    FIRST_HEADS = 200
    EVERY_ROWS = 10_000

    def __init__(self, trusted=(), every=False):
        self.trusted = set(trusted)
        self.every = every
        self._keys = {}
        self._offered = set()
        self.signer = None
        self.changes = {}
        self.used = set()
        self.heads = self.checked = 0
        self._signed = 0
        """Rows under a head whose signature was checked."""
        self._open = None
        """The last head, where its signature was not checked yet."""

    def add(self, key):
        self._keys[key["key_id"]] = bytes.fromhex(key["public_key"])
        if sha256(self._keys[key["key_id"]]).hex() != key["key_id"]:
            raise Bad("key", "a key's id is not its own: " + key["key_id"])

    def check(self, head, row=None, last_row=None, at_once=False):
        key_id, which = head["key_id"], f"the head of size {head['size']}"
        if key_id not in self._keys:
            raise Bad("key", f"{which} is signed by a key that is not there: {key_id}", row, last_row)
        if self.trusted and key_id not in self.trusted:
            raise Bad("key", f"{which} is signed by a key that you do not trust: {key_id}", row, last_row)
        if self.signer not in (None, key_id):
            self.settle()
            change = (self.signer, key_id, key_id in self._offered)
            size, times = self.changes.get(change, (head["size"], 0))
            self.changes[change] = (size, times + 1)
        if self.signer != key_id or self.heads < self.FIRST_HEADS or head["size"] - self._signed >= self.EVERY_ROWS:
            at_once = True
        self.heads += 1
        self.used.add(key_id)
        self.signer = key_id
        self._offered.clear()
        self._open = (head, row is not None)
        if at_once or self.every:
            self.settle()

    def settle(self):
        """Checks the signature of the last head, if it was not."""
        if self._open is None:
            return
        (head, has_rows), self._open = self._open, None
        message = signed_bytes(head, "head", ("signature",))
        if not is_signed(self._keys[head["key_id"]], message, bytes.fromhex(head["signature"])):
            rows = (self._signed, head["size"] - 1) if has_rows else (None, None)
            raise Bad("signature", f"the signature of the head of size {head['size']} is not over what it says", *rows)
        self.checked += 1
        self._signed = head["size"]

    def check_rotation(self, rotation):
        self.settle()
        message = signed_bytes(rotation, "rotation", ("from_signature", "to_signature"))
        for side in ("from", "to"):
            key_id, key = rotation[side + "_key_id"], bytes.fromhex(rotation[side + "_public_key"])
            if sha256(key).hex() != key_id:
                raise Bad("rotation", "a key's id is not its own: " + key_id)
            if not is_signed(key, message, bytes.fromhex(rotation[side + "_signature"])):
                raise Bad("rotation", f"the rotation after size {rotation['after_size']} is not signed by {key_id}")
        self._offered.add(rotation["to_key_id"])
        if rotation["from_key_id"] in self.trusted:
            self.trusted.add(rotation["to_key_id"])


def signed_bytes(members, what, signatures):
    """What signatures are over: the other members, under a name that nothing else is signed by."""
    rest = {name: value for name, value in members.items() if name not in signatures}
    return b"glow ledger " + what.encode() + b"\n" + canonical(rest)


class Erasures:
    """Which rows have lost what their calls carried or gave, and what in the record says that it was erased.

    A batch of an erasure is a call, whose result names the events that it took from; that result is what its digest
    says. One recorded before results did so says how many there were. Whoever replaces or forgets a preference has
    the earlier words erased by that call, whose own words may be erased in turn: so nothing is named there, and what
    counts is that the same person has made another such call.
    """

    BATCH = "privacy_erase_step"
    PREFERENCES = ("preference_set", "preference_forget")

    def __init__(self):
        self.named = []
        """(row, row of the batch that names it)."""
        self.own_words, self.unnamed = [], []
        """Rows."""
        self.last_unnaming = None
        """The row of the last batch that names none."""
        self._lost, self._names = {}, {}
        """By event: the row that has lost something, the row of the batch that names it; until the two meet."""
        self._words, self._word_calls = {}, {}
        """Of a preference's lost words, by row: whose call it was. By person: calls about preferences, two at most."""
        self._not_named = 0

    def __len__(self):
        return len(self.named) + len(self.own_words) + len(self.unnamed)

    def lose(self, row, event, has_salt):
        event_id = str(event.get("event_id"))
        batch = self._names.pop(event_id, None)
        if batch is not None:
            self.named.append((row, batch))
        elif self._lost.setdefault(event_id, row) != row:
            raise Bad("payload", f"row {row} is the same event as row {self._lost[event_id]}", row)
        elif has_salt and event.get("tool") == "preference_set":
            self._words[row] = (str(event.get("principal_id")), str(event.get("call_id")))

    def follow(self, row, event, result):
        """Takes what a row says of other rows' payloads. `result`: as its digest has it; None: it is gone itself."""
        if event.get("kind") != "tool.completed":
            return
        if event.get("tool") in self.PREFERENCES:
            calls = self._word_calls.setdefault(str(event.get("principal_id")), set())
            if len(calls) < 2:
                calls.add(str(event.get("call_id")))
        elif event.get("tool") == self.BATCH and result is not None:
            self._follow_batch(row, parsed(result.encode()) or {})

    def _follow_batch(self, row, result):
        names, removed = result.get("erased"), result.get("removed")
        if type(names) is list:
            for event_id in map(str, names):
                lost = self._lost.pop(event_id, None)
                if lost is None:
                    self._names[event_id] = row
                else:
                    self._words.pop(lost, None)
                    self.named.append((lost, row))
        elif type(removed) is dict and is_size(removed.get("activity_payloads")):
            self._not_named += removed["activity_payloads"]
            self.last_unnaming = row

    def settle(self):
        """Every row has been seen."""
        self.named.sort()
        for row in sorted(self._lost.values()):
            person, call = self._words.get(row, (None, None))
            is_own = bool(self._word_calls.get(person, set()) - {call})
            (self.own_words if is_own else self.unnamed).append(row)
        if len(self.unnamed) > self._not_named:
            words = f"what {_rows(self.unnamed)} carried or gave is not there, and no erasure in the record covers it"
            if self._not_named:
                words = f"{words}: those that name no rows took it from {self._not_named}"
            last_row = self.unnamed[-1] if self._not_named else None
            raise Bad("payload", words, self.unnamed[0], last_row)


LISTED = 10


def _rows(rows, most=LISTED):
    """Rows in words: no more than so many of them."""
    listed = ", ".join(map(str, rows[:most]))
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"row{'' if len(rows) == 1 else 's'} {listed}{more}"


class Export:
    """An export, taken line by line; what is held in memory grows with its erased rows alone."""

    def __init__(self, signatures, kept):
        self.signatures = signatures
        self.kept = {head["size"]: head for head in kept}
        self.contradicting = sorted(head["size"] for head in kept if self.kept[head["size"]]["root"] != head["root"])
        self.header = None
        self.tree = Tree()
        self.chain = bytes(32)
        self.erasures = Erasures()
        self.rows = self.heads = self.payloads = self.left_out = 0
        self.proved = self.agreed = self.line = 0

    def verify(self, lines):
        try:
            for raw in lines:
                self.line += 1
                self._take(raw)
            self._end()
        except Bad as bad:
            bad.line = self.line
            raise

    def _take(self, raw):
        line = read_line(raw)
        if line is None or (self.header is None) != (line["type"] == "ledger"):
            raise Bad("unreadable", f"line {self.line} is not one of an export, or was cut off", self.rows)
        if line["type"] == "ledger":
            self.header = line
            if any(head["organization_id"] != line["organization_id"] for head in self.kept.values()):
                raise Bad("organization", "the kept head is another organization's")
            if self.contradicting:
                raise Bad("kept_head", f"kept heads of size {self.contradicting[0]} contradict one another")
        elif line["type"] == "key":
            self.signatures.add(line)
        elif line["type"] == "event":
            self._take_event(line)
        elif line["type"] == "head":
            self._take_head(line)
        elif line["type"] == "rotation":
            self._take_rotation(line)
        else:
            # Nobody signs these words: no line of ours may stand in them.
            why = line["why"].encode("unicode_escape").decode()
            words = f"the export was broken off; its last line, which nobody signs, says why: {why}"
            raise Bad("truncated", words, self.rows)

    def _take_event(self, line):
        row, event = self.rows, line["event"]
        if line["index"] != row or row >= self.header["size"]:
            raise Bad("place", f"row {row} is missing or moved: here stands one that says it is {line['index']}", row)
        if event is None:
            raise Bad("missing", f"the event of row {row} is not in the record any more", row)
        if event.get("organization_id") != self.header["organization_id"]:
            raise Bad("organization", f"row {row} is another organization's", row)
        leaf = sha256(b"\x00", line["text"])
        if leaf.hex() != line["leaf"]:
            raise Bad("leaf", f"the event of row {row} is not the one that was sealed", row)
        self.chain = sha256(b"\x02", self.chain, leaf)
        if self.chain.hex() != line["chain"]:
            raise Bad("chain", f"row {row} is not the one that was sealed after the row before it", row)
        self._check_payload(line["payload"], event, row)
        self.tree.append(leaf)
        self.rows += 1
        kept = self.kept.get(self.rows)
        if kept is not None:
            if kept["root"] != self.tree.root().hex():
                words = f"the rows {self.agreed} to {row} are not those of the head that was kept"
                raise Bad("kept_head", words, self.agreed, row)
            self.agreed = self.rows

    def _check_payload(self, payload, event, row):
        wanted = [name for name in ("arguments", "result") if event.get(name + "_digest") is not None]
        if not self.header["payloads"]:
            if payload is not None:
                words = f"row {row} has what its call carried, and the first line says that no row does"
                raise Bad("payload", words, row)
            self.left_out += bool(wanted)
            return
        texts = {} if payload is None else self._texts_of(payload, event, row)
        if any(texts.get(name) is None for name in wanted):
            self.erasures.lose(row, event, payload is not None)
        else:
            self.payloads += payload is not None
        self.erasures.follow(row, event, texts.get("result"))

    def _texts_of(self, payload, event, row):
        """What a call carried and gave, each as its digest says."""
        salt = bytes.fromhex(payload["salt"])
        if len(salt) != SALT_BYTES:
            # A digest is over the salt and the text without anything between: only its length tells the two apart.
            raise Bad(
                "payload", f"the salt of row {row} is not of {SALT_BYTES} bytes: where the text begins is open", row
            )
        for name in ("arguments", "result"):
            text, digest = payload[name], event.get(name + "_digest")
            if text is not None and sha256(salt, text.encode()).hex() != digest:
                raise Bad("payload", f"what stands as {name} of row {row} is not what the call carried", row)
        return payload

    def _take_head(self, head):
        rows, first, last = self.rows, self.proved, self.rows - 1
        if head["size"] > rows:
            words = f"rows {rows} to {head['size'] - 1} are missing before their head"
            raise Bad("truncated", words, rows, head["size"] - 1)
        if head["organization_id"] != self.header["organization_id"]:
            raise Bad("organization", "a head is another organization's", first, last)
        if (head["size"], head["root"], head["chain"]) != (rows, self.tree.root().hex(), self.chain.hex()):
            words = f"the rows {first} to {last} are not those that the head of size {head['size']} was signed over"
            raise Bad("root", words, first, last)
        self.signatures.check(head, first, last, at_once=rows in self.kept)
        self.proved = rows
        self.heads += 1

    def _take_rotation(self, rotation):
        after = rotation["after_size"]
        if rotation["organization_id"] != self.header["organization_id"]:
            raise Bad("organization", "a rotation is another organization's")
        if not (after == self.proved == self.rows and rotation["from_key_id"] == self.signatures.signer):
            raise Bad("rotation", f"the rotation after size {after} does not stand after a head of the key before")
        self.signatures.check_rotation(rotation)

    def _end(self):
        if self.header is None:
            raise Bad("unreadable", "the file is empty", 0)
        wanted = max([self.header["size"], *self.kept])
        if self.rows < wanted:
            words = f"the file ends before row {self.rows}; there were at least {wanted}"
            raise Bad("truncated", words, self.rows, wanted - 1)
        self.signatures.settle()
        if self.proved < self.rows:
            raise Bad("unsealed", f"no head covers the rows from {self.proved} on", self.proved, self.rows - 1)
        self.erasures.settle()

    def checked(self):
        """What was checked, by names; of an export without payloads nothing is known of erasures."""
        told = self.header["payloads"]
        counted = {"payloads": self.payloads, "erased": len(self.erasures)} if told else {"left_out": self.left_out}
        whose = {"organization_id": self.header["organization_id"]}
        return {"rows": self.rows, "heads": self.heads, **counted, **whose, "erasures": self.erasures}


def follows(size, root, head, path):
    """Whether the tree of that size and root is the beginning of a head's."""
    if size == head["size"]:
        return root == head["root"]
    old, new = bytes.fromhex(root), bytes.fromhex(head["root"])
    return 0 < size < head["size"] and is_consistent(
        size, old, head["size"], new, [bytes.fromhex(each) for each in path]
    )


CHANGED = "the rows of the kept head were changed since"


def roots_of(kept, organization_id):
    """Of the heads kept in a file the root of each size."""
    roots = {}
    for each in kept:
        if each["organization_id"] != organization_id:
            raise Bad("organization", "the kept head is another organization's")
        if roots.setdefault(each["size"], each["root"]) != each["root"]:
            raise Bad("kept_head", f"kept heads of size {each['size']} contradict one another")
    return roots


def reached_from(size, root, links, organization_id):
    """The root of each size to which proofs of consistency lead from that one, upwards, link by link."""
    reached = {size: root}
    for link in sorted(links, key=lambda link: link["since"]):
        since, newer = link["since"], link["head"]
        if since in reached and newer["organization_id"] == organization_id:
            if not follows(since, reached[since], newer, link["consistency"]):
                raise Bad("kept_head", CHANGED, 0, since - 1)
            if reached.setdefault(newer["size"], newer["root"]) != newer["root"]:
                raise Bad("kept_head", f"heads of size {newer['size']} contradict one another")
    return reached


def check_tied(kept, head, links, of_call=False):
    """That a head is of one tree with those kept in a file; gives how many rows those cover.

    It is one of them; or proofs of consistency (`--since`) lead to it from the newest of them; or,
    where it is the older, from it to one that they lead to.
    """
    size, organization_id = head["size"], head["organization_id"]
    roots = roots_of(kept, organization_id)
    newest = max(roots)
    reached = {**reached_from(newest, roots[newest], links, organization_id), **roots}
    if size in reached:
        if reached[size] != head["root"]:
            raise Bad("kept_head", CHANGED, 0, size - 1)
        return size if size in roots else newest
    for link in links:
        newer = link["head"]
        if link["since"] == size and reached.get(newer["size"]) == newer["root"]:
            if not follows(size, head["root"], newer, link["consistency"]):
                raise Bad("kept_head", CHANGED, 0, size - 1)
            return newest
    ask = f"run `glow audit head --since {min(max(reached), size)}` and give what it prints by --consistency"
    if of_call:
        ask = f"have the call proved by `glow audit prove CALL_ID --since {newest}`, or {ask}"
    raise Bad("kept_head", f"nothing ties this head of size {size} to the kept one of size {newest}: {ask}")


def is_path(value):
    return type(value) is list and all(is_hash(each) for each in value)


PROVED = {
    "event": lambda value: type(value) is dict,
    "index": is_size,
    "leaf": is_hash,
    "path": is_path,
}


def verify_proof(proof, signatures, kept, links):
    """What was checked. `kept`: the heads of each file of such."""
    head, events, unsealed = proof.get("head"), proof.get("events"), proof.get("unsealed")
    if type(events) is not list or not all(fits(each, PROVED) for each in events):
        raise Bad("unreadable", "the proof's events are not such")
    if not is_text(proof.get("call_id")) or not is_size(unsealed):
        raise Bad("unreadable", "the proof does not say of which call it is")
    if head is None or not events:
        raise Bad("unsealed", f"no event of the call is proved here; {unsealed} are not sealed yet: ask again")
    check_signed(proof, signatures)
    links = [proof, *links] if link_of(proof) else links
    covered = [check_tied(heads, head, links, True) for heads in kept]
    for each in events:
        row, leaf = each["index"], sha256(b"\x00", canonical(each["event"]))
        if each["event"].get("organization_id") != head["organization_id"]:
            raise Bad("organization", f"row {row} is another organization's", row)
        if each["event"].get("call_id") != proof.get("call_id"):
            raise Bad("proof", f"row {row} is of another call", row)
        path = [bytes.fromhex(hash) for hash in each["path"]]
        root = root_by_inclusion(leaf, row, head["size"], path)
        if leaf.hex() != each["leaf"] or root is None or root.hex() != head["root"]:
            raise Bad("proof", f"what stands here as row {row} is not under the head", row)
    newer = sum(each["index"] >= max(covered) for each in events) if covered else 0
    whose = {"organization_id": head["organization_id"], "call_id": proof["call_id"]}
    return {"rows": len(events), "unsealed": unsealed, **whose, "after_kept": newer}


def check_signed(proof, signatures):
    """The head of a proof, or of what `glow audit head` prints, by its key, and by the rotations that led to it."""
    head, key, rotations = proof["head"], proof.get("key"), proof.get("rotations", [])
    if key is None:
        raise Bad("key", "the head came without its key, so nobody can check who signed it: ask for it again")
    if not fits(head, HEAD) or not fits(key, KEY):
        raise Bad("unreadable", "the head or its key is not one")
    if type(rotations) is not list or not all(fits(each, ROTATION) for each in rotations):
        raise Bad("unreadable", "the rotations are not such")
    for rotation in rotations:
        if rotation["organization_id"] != head["organization_id"]:
            raise Bad("organization", "a rotation is another organization's")
        signatures.check_rotation(rotation)
    signatures.add(key)
    signatures.check(head)


def verify_head(file, signatures, kept, links):
    """What was checked: how many files' kept heads are of one tree with this head. `kept`: the heads of each."""
    head, since = file["head"], file.get("since")
    if (head is not None and not fits(head, HEAD)) or (since is not None and link_of(file) is None):
        raise Bad("unreadable", "this is no head")
    if head is None:
        raise Bad("unsealed", "there is no head here: nothing was sealed yet")
    check_signed(file, signatures)
    for heads in kept:
        check_tied(heads, head, links if since is None else [file, *links])
    return {"heads": len(kept), "organization_id": head["organization_id"]}


def link_of(value):
    """What `glow audit head --since` prints, or `glow audit prove --since`; None: it is neither."""
    is_one = type(value) is dict and fits(value.get("head"), HEAD) and is_size(value.get("since"))
    return value if is_one and is_path(value.get("consistency")) else None


def read_link(path):
    """The proof in a file that one head is of the beginning of another."""
    link = link_of(read_object(path))
    if link is None or link.get("type") == "proof":
        raise SystemExit(f"verify.py: {path}: this is not what `glow audit head --since SIZE` prints")
    return link


def read_object(path):
    """The one JSON object that a file is, however it is indented; None: it is none."""
    with open(path, "rb") as file:
        content = file.read(LARGEST_FILE + 1)
    return parsed(content) if len(content) <= LARGEST_FILE else None


def parsed(content):
    """The JSON object that bytes are; None: they are none."""
    try:
        value = json.loads(content.decode())
        canonical(value)
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None


def read_kept(path):
    """The heads kept in a file: one by itself, as `glow audit head` prints it, in a proof, or one on each line."""
    value = read_object(path)
    if value is None:
        with open(path, "rb") as file:
            # What an append that was cut off has left is no line.
            values = [value for value in map(parsed, file) if value is not None]
    else:
        values = [value]
    heads = [value.get("head", value) for value in values]
    if not heads or not all(fits(head, HEAD) for head in heads):
        raise SystemExit(f"verify.py: {path}: there is no head in it")
    return heads


def kept_of(heads, organization_id):
    """Of the heads in a file those of that organization; where it has none of it, one that says so."""
    return [head for head in heads if head["organization_id"] == organization_id] or heads[:1]


def verify(path, kept, signatures, links=()):
    """What was checked, by names. `kept`: the heads of each file of such. Raises Bad."""
    with open(path, "rb") as file:
        header = read_line(file.readline(LARGEST_FILE))
    whole = None if header is not None and header["type"] == "ledger" else read_object(path)
    if whole is not None and ("head" in whole or whole.get("type") == "proof"):
        check = verify_proof if whole.get("type") == "proof" else verify_head
        return check(whole, signatures, [kept_of(heads, organization_of(whole)) for heads in kept], links)
    if links:
        raise SystemExit("verify.py: --consistency is for a proof or a head: an export has every row")
    organization_id = header.get("organization_id") if header else None
    export = Export(signatures, [head for heads in kept for head in kept_of(heads, organization_id)])
    with open(path, "rb") as file:
        export.verify(file)
    return export.checked()


def organization_of(holding):
    """The organization of the head that a proof, or what `glow audit head` prints, holds."""
    head = holding.get("head")
    return head.get("organization_id") if type(head) is dict else None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="an export, a proof or a head")
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="FILE",
        help="a head kept elsewhere, or one on each line; may be repeated",
    )
    parser.add_argument(
        "--consistency",
        action="append",
        default=[],
        metavar="FILE",
        help="what `glow audit head --since` printed: ties a proof or a head to a kept head; may be repeated",
    )
    parser.add_argument(
        "--key-id",
        action="append",
        default=[],
        metavar="ID",
        help="trust this key, and those that it vouches for, only; may be repeated",
    )
    parser.add_argument(
        "--all-signatures", action="store_true", help="check every head's signature, however many there are"
    )
    parser.add_argument(
        "--list-erased", action="store_true", help="name every row that has lost what it carried, and by what"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    return parser.parse_args()


def where_of(bad):
    if bad.row is None:
        return ""
    among = "" if bad.last_row in (None, bad.row) else f" (one or more of the rows {bad.row} to {bad.last_row})"
    return f"first bad row {bad.row}{among}: "


def told_of(bad):
    return f"DOES NOT HOLD ({bad.code}): {where_of(bad)}{bad.words}"


def words_of(change, size, times):
    before, now, endorsed = change
    keys = f"the key changed from {before} to {now} with the head of size {size}"
    if endorsed:
        return f"T{keys[1:]}, and the one before has signed that."
    again = f" ({times} times)" if times > 1 else ""
    return f"WARNING: {keys}{again}, and the one before has NOT signed that: ask why."


COUNTED = ("rows", "heads", "payloads", "erased")


def tell(checked, signatures, list_erased):
    counted = [f"{checked[name]} {name}" for name in COUNTED if name in checked]
    print("Holds: " + ", ".join(counted) + ".")
    call = f", call {checked['call_id']}" if "call_id" in checked else ""
    # Whoever signs by a key of their own chooses these texts: no line of ours may stand in them.
    whose = f"Organization {checked['organization_id']}{call}".encode("unicode_escape").decode()
    print(whose + ("." if signatures.heads else ", as the first line says, which nobody signs."))
    for line in told_unsigned(checked):
        print(line)
    for line in told_erased(checked["erasures"], LARGEST if list_erased else LISTED) if "erasures" in checked else ():
        print(line)
    if checked.get("after_kept"):
        print(f"Rows newer than the kept head: {checked['after_kept']}. That they were recorded, the key alone says.")
    if signatures.checked < signatures.heads:
        print(f"Signatures checked: {signatures.checked} of {signatures.heads} heads (--all-signatures: each).")
    for change, (size, times) in signatures.changes.items():
        print(words_of(change, size, times))
    for key_id in sorted(signatures.used):
        print(f"Signed by key {key_id}: is it the one that you were told of?")


def told_unsigned(checked):
    """What a file says of itself by words that nobody signs."""
    if "left_out" in checked:
        yield (
            f"Left out: what {checked['left_out']} of these rows carried or gave. The first line says so, which nobody "
            "signs; whether some of it was erased, or taken away, only an export with payloads shows."
        )
    if "unsealed" in checked:
        yield f"Not signed: that the call has no other rows, but {checked['unsealed']} that are not sealed yet."


def told_erased(erasures, most):
    """Which rows have lost something by which erasure, so many of each kind."""
    if erasures.named:
        rows, batches = [row for row, _ in erasures.named], sorted({batch for _, batch in erasures.named})
        yield f"Erased by what {_rows(batches)} did: {_rows(rows)}."
        if most > LISTED:
            yield from (f"Row {row}: erased by row {batch}." for row, batch in erasures.named)
    if erasures.own_words:
        yield f"A preference's words, erased when the same person changed it: {_rows(erasures.own_words, most)}."
    if erasures.unnamed:
        yield (
            f"{len(erasures.unnamed)} erased before row {erasures.last_unnaming}, by erasures that do not name their "
            f"rows: {_rows(erasures.unnamed, most)}."
        )


def as_json(checked, signatures, bad, list_erased):
    erasures = checked.get("erasures")
    fault = None if bad is None else {name: getattr(bad, name) for name in ("code", "words", "row", "last_row", "line")}
    changes = [
        {"from_key_id": before, "to_key_id": now, "endorsed": endorsed, "size": size, "times": times}
        for (before, now, endorsed), (size, times) in signatures.changes.items()
    ]
    return json.dumps(
        {
            "ok": bad is None,
            **{name: value for name, value in checked.items() if name != "erasures"},
            **({} if erasures is None else rows_erased(erasures, LARGEST if list_erased else LISTED)),
            "signatures": signatures.checked,
            "key_ids": sorted(signatures.used),
            "key_changes": changes,
            "fault": fault,
        }
    )


def rows_erased(erasures, most):
    """The rows that have lost something, so many of each kind."""
    return {
        "erased_by_batches": [{"row": row, "by": batch} for row, batch in erasures.named[:most]],
        "erased_own_words": erasures.own_words[:most],
        "erased_unnamed": erasures.unnamed[:most],
    }


def main():
    asked = arguments()
    signatures = Signatures(asked.key_id, asked.all_signatures)
    try:
        kept = [read_kept(path) for path in asked.head]
        links = [read_link(path) for path in asked.consistency]
        checked, bad = verify(asked.file, kept, signatures, links), None
    except OSError as error:
        print(f"verify.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except Bad as found:
        checked, bad = {}, found
    if asked.json:
        print(as_json(checked, signatures, bad, asked.list_erased))
    elif bad is not None:
        print(told_of(bad))
    else:
        tell(checked, signatures, asked.list_erased)
    return 0 if bad is None else 1


if __name__ == "__main__":
    sys.exit(main())
