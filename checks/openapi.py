"""Keeps docs/openapi.json what the server says of itself, so that a change of the interface is seen in review."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from server.openapi import openapi_document

FILE = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def rendered() -> str:
    """The server's document as it is checked in: sorted and indented, so that a difference shows as few lines."""
    return json.dumps(openapi_document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Compare the file with the server, or with `write` write it; exit status."""
    if arguments[:1] == ["write"]:
        FILE.write_text(rendered())
    if not FILE.is_file() or FILE.read_text() != rendered():
        print("docs/openapi.json is not what the server says: run `make openapi` and review the difference")
        return 1
    print("openapi: docs/openapi.json is what the server says")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
