"""Arguments of a call as a person at a terminal gives them: as they stand, from a file, or from standard input."""

import sys
from pathlib import Path

import typer

from server.http.strict_json import MalformedJson, decoded


def given_json(given: str) -> object:
    """The value. Raises  BadParameter: no JSON, or no such file."""
    try:
        if given == "-":
            return decoded(sys.stdin.buffer.read())
        if given.startswith("@"):
            return decoded(Path(given[1:]).read_bytes())
        return decoded(given.encode())
    except OSError as error:
        raise typer.BadParameter(f"{given[1:]}: {error.strerror}", param_hint="--arguments") from error
    except (MalformedJson, UnicodeEncodeError) as error:
        words = str(error).replace("the body", "it")
        raise typer.BadParameter(words, param_hint="--arguments") from error
