"""A ZIP opened, be it an archive or an Office file."""

from __future__ import annotations

from io import BytesIO
from zipfile import BadZipFile, ZipFile

from knowledge.parse.document import Unreadable


def opened(content: bytes, damaged: str) -> ZipFile:
    """The archive that the bytes are; nothing of it is unpacked yet.

    Raises  Unreadable, with the words `damaged`: none, cut short, or of a later version of the format.
    """
    try:
        return ZipFile(BytesIO(content))
    # NotImplementedError is zipfile's own word for an archive that says it needs a later version of the format than
    # zipfile reads (APPNOTE 4.4.3). Such a file is bad input like any other.
    except (BadZipFile, ValueError, NotImplementedError, OSError) as refused:
        raise Unreadable(damaged) from refused
