"""Bytes that a door holds while its call is made."""

import hashlib

import pytest

from tools.staging import Staging


@pytest.mark.parametrize("content", [b"", b"a letter", b"x" * 2_000_000])
async def test_bytes_are_found_by_their_digest_for_the_length_of_the_block(content: bytes) -> None:
    staging = Staging()
    async with staging.holding(content) as digest:
        assert digest == hashlib.sha256(content).hexdigest()
        assert staging.find(digest) == content
    assert staging.find(digest) is None


async def test_the_last_of_two_holders_lets_go() -> None:
    content = b"the same letter"
    staging = Staging()
    async with staging.holding(content) as digest:
        async with staging.holding(content):
            pass
        assert staging.find(digest) == content
    assert staging.find(digest) is None


async def test_a_holder_that_fails_lets_go_too() -> None:
    staging = Staging()
    digest = hashlib.sha256(b"letter").hexdigest()
    with pytest.raises(RuntimeError):
        async with staging.holding(b"letter"):
            raise RuntimeError
    assert staging.find(digest) is None
