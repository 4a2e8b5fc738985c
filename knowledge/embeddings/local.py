"""Vectors by a model that the extra `local` brings in a package: nothing is downloaded, nothing leaves (ADR-0063)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from knowledge.embeddings.model import EmbeddingsRefused, Space, TokensUsed, learned_space, unit
from knowledge.embeddings.wire import LONGEST_TEXT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE: Final = "wordllama"
NEEDED: Final = (PACKAGE, "tokenizers", "numpy")
MODEL: Final = "wordllama-l2-supercat"
DIMENSIONS: Final = 256
INSTALL: Final = "pip install 'prisma-glow[local]'"

_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
_KNOWN: Final = {
    _WEIGHTS: frozenset({"64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"}),
    # Two releases, which differ in the file's last line end.
    _TOKENIZER: frozenset(
        {
            "bf467c9e0f536bda271283c6ef85eb1a943e3196b621c8a912d64953b205df83",
            "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
        }
    ),
}
"""SHA-256 of what the name of the model stands for: vectors of another file are comparable with none of it."""
_AT_ONCE: Final = 64
"""Texts between two looks at whatever else the thread pool has to do."""
_LENGTH_BYTES: Final = 8
"""Of a safetensors file's head."""


def is_installed() -> bool:
    """Whether the extra is there."""
    return all(find_spec(name) is not None for name in NEEDED)


@dataclass(frozen=True, slots=True)
class _Loaded:
    tokenizer: Any
    rows: NDArray[np.float16]
    """A vector for each token."""

    def vectors(self, texts: Sequence[str]) -> list[tuple[float, ...] | None]:
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> tuple[float, ...] | None:
        """The direction of the mean of the tokens' vectors; None: it has no token."""
        sendable = text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")
        tokens = cast("list[int]", self.tokenizer.encode(sendable, add_special_tokens=False).ids)
        if not tokens:
            return None
        mean = self.rows[tokens].mean(axis=0, dtype="float64")
        return unit(cast("list[float]", mean.tolist()))


class LocalEmbedder:
    """Embedder in this process: a table of vectors by token, read once when the first text comes."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: where the package's files lie; None: where it is installed."""
        self._folder = folder
        self._loaded: _Loaded | None = None
        self._loading = asyncio.Lock()

    @property
    def model(self) -> str:
        return MODEL

    async def close(self) -> None:
        """Nothing is open."""

    async def space(self, used: TokensUsed | None = None) -> Space:
        del used
        return learned_space(MODEL, DIMENSIONS)

    async def embed(self, texts: Sequence[str], used: TokensUsed | None = None) -> Sequence[tuple[float, ...] | None]:
        """As the port; nothing is used, since it costs nobody anything."""
        del used
        model = await self._model()
        vectors: list[tuple[float, ...] | None] = []
        for start in range(0, len(texts), _AT_ONCE):
            vectors += await asyncio.to_thread(model.vectors, texts[start : start + _AT_ONCE])
        return vectors

    async def embed_question(self, text: str, used: TokensUsed | None = None) -> tuple[float, ...]:
        (vector,) = await self.embed([text], used)
        if vector is None:
            raise EmbeddingsRefused("the question holds no word", of_texts=True)
        return vector

    async def _model(self) -> _Loaded:
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(_load, self._folder)
            return self._loaded


def _load(folder: Path | None) -> _Loaded:
    """The model's files, as they are known.

    Raises  EmbeddingsRefused: the extra is not installed, or its files are others.
    """
    # Looked for and not imported: the package would set up logging, and can download.
    found = find_spec(PACKAGE) if folder is None and is_installed() else None
    if found is not None and found.submodule_search_locations:
        folder = Path(found.submodule_search_locations[0])
    if folder is None:
        raise EmbeddingsRefused(f"its package is not installed ({INSTALL})")
    weights, tokenizer = (_file(folder, name) for name in (_WEIGHTS, _TOKENIZER))
    return _Loaded(tokenizer=_tokenizer(tokenizer), rows=_rows(weights))


def _file(folder: Path, name: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as missing:
        raise EmbeddingsRefused(f"{name} of its package cannot be read ({INSTALL})") from missing
    if hashlib.sha256(content).hexdigest() not in _KNOWN[name]:
        raise EmbeddingsRefused(f"{name} of its package is not the file that {MODEL} is known by ({INSTALL})")
    return content


def _tokenizer(content: bytes) -> Any:
    tokenizer: Any = import_module("tokenizers").Tokenizer.from_str(content.decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _rows(content: bytes) -> NDArray[np.float16]:
    """The one table of a safetensors file.  Source  its format: length of the head, the head in JSON, the numbers."""
    import numpy as np

    head_end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    (table,) = cast("dict[str, dict[str, list[int]]]", json.loads(content[_LENGTH_BYTES:head_end])).values()
    begin, end = table["data_offsets"]
    return np.frombuffer(content[head_end + begin : head_end + end], dtype="<f2").reshape(table["shape"])
