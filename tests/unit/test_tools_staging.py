"""Bytes that a door holds while its call is made."""

import hashlib
from dataclasses import replace
from uuid import UUID

import pytest

from domain.kernel import OrganizationId, Principal, PrincipalId
from tools.staging import Staging

PRINCIPAL = Principal(
    organization_id=OrganizationId(UUID(int=1)),
    principal_id=PrincipalId(UUID(int=2)),
    kind="person",
    mode="person",
    door="rest",
)


@pytest.mark.parametrize("content", [b"", b"a letter", b"x" * 2_000_000])
async def test_bytes_are_found_by_their_digest_for_the_length_of_the_block(content: bytes) -> None:
    staging = Staging()
    async with staging.holding(PRINCIPAL, content) as digest:
        assert digest == hashlib.sha256(content).hexdigest()
        assert staging.find(PRINCIPAL, digest) == content
    assert staging.find(PRINCIPAL, digest) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(PRINCIPAL, organization_id=OrganizationId(UUID(int=3))),
        replace(PRINCIPAL, principal_id=PrincipalId(UUID(int=3))),
    ],
    ids=["of another organization", "a colleague"],
)
async def test_a_digest_finds_nothing_that_somebody_else_brought(other: Principal) -> None:
    staging = Staging()
    async with staging.holding(PRINCIPAL, b"a letter") as digest:
        assert staging.find(other, digest) is None


async def test_the_last_of_two_holders_lets_go() -> None:
    content = b"the same letter"
    staging = Staging()
    async with staging.holding(PRINCIPAL, content) as digest:
        async with staging.holding(PRINCIPAL, content):
            pass
        assert staging.find(PRINCIPAL, digest) == content
    assert staging.find(PRINCIPAL, digest) is None


async def test_a_holder_that_fails_lets_go_too() -> None:
    staging = Staging()
    digest = hashlib.sha256(b"letter").hexdigest()
    with pytest.raises(RuntimeError):
        async with staging.holding(PRINCIPAL, b"letter"):
            raise RuntimeError
    assert staging.find(PRINCIPAL, digest) is None
