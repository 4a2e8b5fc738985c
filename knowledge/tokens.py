"""Counts tokens as the model will, for chunks and for the context window; the rank files ship inside this package."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import lzma
import threading
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tiktoken import Encoding

WINDOW: Final = 50_000
"""Characters encoded at once. tiktoken's regex engine overflows its stack on unbroken runs of a million characters."""


class TokenRanksDamaged(RuntimeError):
    """The rank file inside the package is not the one it was shipped with; a fault of the installation."""

    def __init__(self) -> None:
        super().__init__("a token rank file inside the package is damaged: install the package again")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """How one encoding is put together; the patterns and special tokens are tiktoken's own (tiktoken_ext)."""

    sha256: str
    pattern: str
    special_tokens: dict[str, int]


_O200K_PATTERN: Final = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CL100K_PATTERN: Final = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)

_RECIPES: Final[dict[str, _Recipe]] = {
    "o200k_base": _Recipe(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        pattern=_O200K_PATTERN,
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
    "cl100k_base": _Recipe(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        pattern=_CL100K_PATTERN,
        special_tokens={
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
}

_built: dict[str, Encoding] = {}
_BUILDING: Final = threading.Lock()

DEFAULT_ENCODING: Final = "o200k_base"
"""What an unknown model is counted with: all current OpenAI models use it, and other vendors' counts lie near it."""


def count_tokens(text: str, model: str | None = None) -> int:
    """How many tokens `model` will see in `text`.

    Units   tokens; exact up to 50,000 characters, beyond that at most a token or two too many per 50,000.
            Text that spells a special token is counted as plain text, for that is how it is sent.
    """
    encoding = encoding_for(model)
    if len(text) <= WINDOW:
        return len(encoding.encode_ordinary(text))
    return sum(len(encoding.encode_ordinary(window)) for window in _windows(text))


def encoding_for(model: str | None = None) -> Encoding:
    """The encoding that `model` uses, `o200k_base` where that is unknown; built once a process, never downloaded.

    Raises  TokenRanksDamaged: the rank file in the package has another digest than it was shipped with.
    """
    name = _encoding_name(model)
    with _BUILDING:
        if name not in _built:
            _built[name] = _encoding(name)
        return _built[name]


async def load_encoding(model: str | None = None) -> None:
    """Have at hand what counts for `model`, built in a thread: to unpack and sort its ranks takes a third of a second.

    Effect  80 MB of memory, once a process and encoding: where nothing is counted, nothing is loaded.
    Raises  TokenRanksDamaged.
    """
    if not _built or _encoding_name(model) not in _built:
        await asyncio.to_thread(encoding_for, model)


@functools.lru_cache(maxsize=256)
def _encoding_name(model: str | None) -> str:
    from tiktoken.model import encoding_name_for_model

    if model is None:
        return DEFAULT_ENCODING
    try:
        name = encoding_name_for_model(model)
    except KeyError:
        return DEFAULT_ENCODING
    return name if name in _RECIPES else DEFAULT_ENCODING


def unpack_ranks(packed: bytes, sha256: str) -> dict[bytes, int]:
    """The rank of each token, from an xz-compressed tiktoken rank file.

    Raises  TokenRanksDamaged: the file does not unpack, or has another digest once unpacked.
    """
    try:
        plain = lzma.decompress(packed)
    except lzma.LZMAError:
        raise TokenRanksDamaged from None
    if hashlib.sha256(plain).hexdigest() != sha256:
        raise TokenRanksDamaged
    return {b64decode(token): int(rank) for token, rank in (line.split() for line in plain.splitlines())}


def _encoding(name: str) -> Encoding:
    from tiktoken import Encoding

    recipe = _RECIPES[name]
    packed = resources.files("knowledge").joinpath("ranks", f"{name}.tiktoken.xz").read_bytes()
    return Encoding(
        name,
        pat_str=recipe.pattern,
        mergeable_ranks=unpack_ranks(packed, recipe.sha256),
        special_tokens=recipe.special_tokens,
    )


def _windows(text: str) -> Iterator[str]:
    """`text` in pieces of at most WINDOW characters, cut after a newline where there is one: no token spans those."""
    start = 0
    while start < len(text):
        end = min(start + WINDOW, len(text))
        if end < len(text):
            end = (text.rfind("\n", start + WINDOW // 2, end) + 1) or end
        yield text[start:end]
        start = end
