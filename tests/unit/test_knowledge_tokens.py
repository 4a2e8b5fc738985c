"""Tokens are counted from the shipped rank files alone, and no text makes counting fail."""

from __future__ import annotations

import hashlib
import lzma
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.tokens import WINDOW, TokenRanksDamaged, count_tokens, encoding_for, unpack_ranks


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        (None, "o200k_base"),
        ("gpt-4o", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("davinci", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("some-model-of-next-year", "o200k_base"),
        ("", "o200k_base"),
    ],
)
def test_each_model_has_its_encoding_and_an_unknown_one_the_default(model: str | None, encoding: str) -> None:
    assert encoding_for(model).name == encoding


LOADING = """
import asyncio
from knowledge.tokens import count_tokens, load_encoding

async def main():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.create_task(others())
    await load_encoding("gpt-4o")
    waiting.cancel()
    print(turns > 1, count_tokens("hello world", "gpt-4o"))

asyncio.run(main())
"""


def test_an_encoding_is_built_while_others_have_their_turn() -> None:
    told = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "True 2\n"


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("The engagement letter is renewed every year.", 8, 8),
        ("Umsatzsteuererklärung", 6, 8),
    ],
)
def test_counts_are_those_of_tiktoken_itself(text: str, o200k: int, cl100k: int) -> None:
    assert count_tokens(text) == o200k
    assert count_tokens(text, "gpt-4") == cl100k


def test_text_that_spells_a_special_token_counts_as_the_plain_text_it_is() -> None:
    assert count_tokens("<|endoftext|>") > 1
    assert encoding_for().decode(encoding_for().encode_ordinary("<|endoftext|>")) == "<|endoftext|>"


@pytest.mark.parametrize("character", ["a", "A", " ", "\n", "!", "\t", "漢", "́", "​", "\ud800", "<|endoftext|>"])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
def test_a_run_of_a_million_equal_characters_is_counted_and_crashes_nothing(character: str, model: str) -> None:
    assert count_tokens(character * (1_000_000 // len(character)), model) > 1_000


@settings(deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_a_long_text_counts_as_its_whole_within_a_token_or_two_a_window(paragraphs: list[str]) -> None:
    filler = "One paragraph among others.\n\n" * (WINDOW // 50)
    text = "\n\n".join(filler + paragraph for paragraph in paragraphs)
    exact = len(encoding_for().encode_ordinary(text))
    assert exact <= count_tokens(text) <= exact + 2 * (len(text) // WINDOW + 1)


def test_a_damaged_rank_file_is_refused() -> None:
    plain = b"IQ== 0\nIg== 1\n"
    digest = hashlib.sha256(plain).hexdigest()
    assert unpack_ranks(lzma.compress(plain), digest) == {b"!": 0, b'"': 1}
    with pytest.raises(TokenRanksDamaged):
        unpack_ranks(lzma.compress(plain + b"Iw== 2\n"), digest)
    with pytest.raises(TokenRanksDamaged):
        unpack_ranks(lzma.compress(plain)[:-8], digest)
