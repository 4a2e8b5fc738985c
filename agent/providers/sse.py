"""Server-sent events as a model provider sends them: bytes in, however the network cut them, data payloads out."""

from typing import Protocol

from agent.providers.faults import ProviderFault

_BOM = b"\xef\xbb\xbf"
MOST_BYTES = 8 * 1024 * 1024
"""More than any answer's largest event; past it the server is broken or hostile."""


class PayloadReader(Protocol):
    """What turns the reads of one response into JSON payloads."""

    def feed(self, read: bytes) -> list[bytes]: ...

    def end(self) -> list[bytes]: ...


class EventReader:
    """Gives the `data` of each event as soon as its last byte came.

    Works on bytes, so that a character split between two reads needs no care: JSON is decoded whole or not at all.
    Only `data` matters here; comments, `event`, `id` and `retry` are passed over.
    Raises  ProviderFault: an event longer than `most_bytes`.
    Source  WHATWG HTML, 9.2.6 "Interpreting an event stream".
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._held_bytes = 0
        self._at_start = True
        self._after_cr = False

    def feed(self, read: bytes) -> list[bytes]:
        """The payloads that `read` completed, in order."""
        if self._at_start:
            read = self._without_bom(read)
        if self._after_cr and read:
            self._after_cr = False
            read = read.removeprefix(b"\n")
        payloads: list[bytes] = []
        for line in self._whole_lines(read):
            self._take(line, payloads)
        return payloads

    def end(self) -> list[bytes]:
        """What a stream that ended in good order still holds: servers forget the last blank line."""
        payloads: list[bytes] = []
        held = b"".join(self._line)
        if held and not self._at_start:
            self._take(held, payloads)
        self._line.clear()
        self._take(b"", payloads)
        return payloads

    def _without_bom(self, read: bytes) -> bytes:
        begun = b"".join((*self._line, read))
        self._line.clear()
        if len(begun) < len(_BOM) and _BOM.startswith(begun):
            self._line.append(begun)
            return b""
        self._at_start = False
        return begun.removeprefix(_BOM)

    def _whole_lines(self, read: bytes) -> list[bytes]:
        if b"\n" not in read and b"\r" not in read:
            self._hold(read)
            return []
        self._after_cr = read.endswith(b"\r")
        # bytes.splitlines knows exactly the three line ends of the standard: LF, CR and CRLF.
        lines = read.splitlines(keepends=True)
        lines[0] = b"".join((*self._line, lines[0]))
        self._line.clear()
        if not lines[-1].endswith((b"\n", b"\r")):
            self._hold(lines.pop())
        return [line.rstrip(b"\r\n") for line in lines]

    def _hold(self, part: bytes) -> None:
        if part:
            self._line.append(part)
            self._count(part)

    def _count(self, part: bytes) -> None:
        self._held_bytes += len(part)
        if self._held_bytes > self._most_bytes:
            raise ProviderFault("protocol", detail=f"an event of more than {self._most_bytes} bytes")

    def _take(self, line: bytes, payloads: list[bytes]) -> None:
        if not line:
            if self._data:
                payloads.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
            self._held_bytes = 0
        elif line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._count(value)
        elif line == b"data":
            self._data.append(b"")


class WholeBodyReader:
    """The one payload of a server that answers `stream: true` with a plain JSON body."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def feed(self, read: bytes) -> list[bytes]:
        self._parts.append(read)
        self._size_bytes += len(read)
        if self._size_bytes > self._most_bytes:
            raise ProviderFault("protocol", detail=f"a body of more than {self._most_bytes} bytes")
        return []

    def end(self) -> list[bytes]:
        return [b"".join(self._parts)]
