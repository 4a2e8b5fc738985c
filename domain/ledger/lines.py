"""An export as lines of canonical JSON: what it is, the keys, the rows in order, each head after its last row."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from domain.activity.model import Payload
from domain.kernel import OrganizationId
from domain.ledger.model import Head, Key, Page, Rotation, SealedEvent, canonical, moment

VERSION = 1


def header_line(organization_id: OrganizationId, size: int, at: datetime, *, payloads: bool) -> bytes:
    """The first: of whom, how many rows, with payloads or without."""
    return _line(
        {
            "exported_at": moment(at),
            "organization_id": str(organization_id),
            "payloads": payloads,
            "size": size,
            "type": "ledger",
            "version": VERSION,
        }
    )


def key_line(key: Key) -> bytes:
    """A public key."""
    return _line(key.members())


def head_line(head: Head) -> bytes:
    """A signed head."""
    return _line(head.members())


def event_line(event: SealedEvent) -> bytes:
    """A row: the event's text stands in it as it was hashed."""
    payload = b"null" if event.payload is None else canonical(_payload(event.payload))
    return b'{"chain":"%b","event":%b,"index":%d,"leaf":"%b","payload":%b,"type":"event"}\n' % (
        event.chain.hex().encode(),
        b"null" if event.text is None else event.text.encode(),
        event.index,
        event.leaf.hex().encode(),
        payload,
    )


def broken_off_line(why: str) -> bytes:
    """The last of an export that could not be read to its end."""
    return _line({"type": "broken_off", "why": why})


def rotation_line(rotation: Rotation) -> bytes:
    """That one key follows another."""
    return _line(rotation.members())


def kept_line(organization: str, head: Head, key: Key, rotations: Sequence[Rotation]) -> bytes:
    """A head as it is kept elsewhere: with its key, and what vouches for that. `organization`: its slug."""
    return _line(
        {
            "head": head.members(),
            "key": key.members(),
            "organization": organization,
            "rotations": [each.members() for each in rotations],
            "type": "kept_head",
            "version": 1,
        }
    )


def lines_of(page: Page) -> Iterator[bytes]:
    """A page's rows, each head after the last row that it covers, and after a head what follows on it."""
    ending = {head.statement.size: head for head in page.heads}
    following: dict[int, list[Rotation]] = defaultdict(list)
    for rotation in page.rotations:
        following[rotation.succession.after_size].append(rotation)
    for event in page.events:
        yield event_line(event)
        head = ending.get(event.index + 1)
        if head is not None:
            yield head_line(head)
            yield from map(rotation_line, following[event.index + 1])


def _payload(payload: Payload) -> dict[str, object]:
    return {"arguments": payload.arguments, "result": payload.result, "salt": payload.salt.hex()}


def _line(members: dict[str, object]) -> bytes:
    return canonical(members) + b"\n"
