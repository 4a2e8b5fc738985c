"""Words in pictures of pages: by the optional extra `ocr`, in the confined process that reads the document."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from time import process_time
from typing import Any, Final, cast

_MOST_PAGES: Final = 30
_MOST_CPU_S: Final = 30.0
"""Of the time that a document may take (knowledge.wire.ProcessLimits); pages that are left are said to be."""
_SCALE: Final = 2.0
"""Dots a point: 144 an inch, at which ten-point type is as large as the recognizer was trained on."""
_LONGEST_SIDE: Final = 2_400
_LEAST_SURE: Final = 0.5

_Point = tuple[float, float]
_Found = tuple[Sequence[_Point], str, float]
"""The corners of a line, its words, and how sure the recognizer is, from 0 to 1."""


class NotRecognized(Exception):
    """The pages cannot be drawn or recognized."""


def is_installed() -> bool:
    """Whether pages can be recognized here."""
    return all(find_spec(name) is not None for name in ("rapidocr_onnxruntime", "pypdfium2"))


def recognized(content: bytes, pages: Sequence[int]) -> dict[int, str]:
    """The words of these pages of a PDF, by number, as far as time allows; pages without any are left out.

    Raises  NotRecognized.
    """
    try:
        return _recognized(content, pages)
    # Both are other programs' code: nearly any exception type comes out of them.
    except Exception as error:
        raise NotRecognized from error


def _recognized(content: bytes, pages: Sequence[int]) -> dict[int, str]:
    pdfium: Any = import_module("pypdfium2")
    # Threads of its own would each take address space, of which this process has little.
    engine: Any = import_module("rapidocr_onnxruntime").RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
    document, began, texts = pdfium.PdfDocument(content), process_time(), dict[int, str]()
    for number in pages[:_MOST_PAGES]:
        if process_time() - began > _MOST_CPU_S:
            break
        page = document[number - 1]
        width, height = cast("tuple[float, float]", page.get_size())
        picture = page.render(scale=min(_SCALE, _LONGEST_SIDE / max(width, height, 1.0))).to_numpy()
        if text := in_reading_order(cast("list[_Found]", engine(picture)[0] or [])):
            texts[number] = text
    return texts


def in_reading_order(found: Sequence[_Found]) -> str:
    """Pieces of lines as lines, top down and left to right, without what the recognizer is unsure of."""
    sure = [(_box(corners), words) for corners, words, score in found if score >= _LEAST_SURE]
    lines: list[list[tuple[tuple[float, float, float], str]]] = []
    for box, words in sorted(sure, key=lambda each: each[0][1]):
        (_, top, bottom) = box
        if lines and (top + bottom) / 2 < lines[-1][0][0][2]:
            lines[-1].append((box, words))
        else:
            lines.append([(box, words)])
    return "\n".join(" ".join(words for _, words in sorted(line, key=lambda each: each[0][0])) for line in lines)


def _box(corners: Sequence[_Point]) -> tuple[float, float, float]:
    """Left, top and bottom."""
    return min(x for x, _ in corners), min(y for _, y in corners), max(y for _, y in corners)
