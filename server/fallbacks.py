"""GLOW_FALLBACK_MODELS: which models answer when the installation's own does not, in words an operator can write."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

HostedApi = Literal["chat_completions", "responses"]

NONE = "none"

SHAPE = "a list like gpt-5-mini, responses:gpt-5@https://api.example.com/v1, offline; or none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A model as it is written: `[API:]MODEL[@BASE_URL]`, where nothing is said the installation's own."""

    name: str
    api: HostedApi | None
    base_url: str | None


def fallback_of(written: str) -> Fallback:
    """One entry. Names may have colons and at-signs of their own: only an API's name and an address are taken off.

    Raises  ValueError: it names no model, or an address that is none.
    """
    api: HostedApi | None = None
    if written.startswith("chat_completions:"):
        api, written = "chat_completions", written.removeprefix("chat_completions:")
    elif written.startswith("responses:"):
        api, written = "responses", written.removeprefix("responses:")
    name, base_url = _parted(written)
    if not name:
        raise ValueError(f"names no model; write {SHAPE}")
    return Fallback(name=name, api=api, base_url=base_url)


def _parted(written: str) -> tuple[str, str | None]:
    for scheme in ("@https://", "@http://"):
        name, found, rest = written.rpartition(scheme)
        if found:
            url = f"{scheme[1:]}{rest}"
            if not urlsplit(url).hostname or urlsplit(url).query or urlsplit(url).fragment:
                raise ValueError(f"has an address that is none; write {SHAPE}")
            return name, url.rstrip("/")
    return written, None
