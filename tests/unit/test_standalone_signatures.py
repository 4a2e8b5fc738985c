"""Ed25519 as the file for strangers does it: RFC 8032's own vectors, and what the library that signs says of others."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.signing import LedgerKey, is_signed
from tests.support.verifiers import is_signed_for_strangers

ORDER = 2**252 + 27742317777372353535851937790883648493

# Source  RFC 8032 7.1: public key, message, signature of TEST 1, TEST 2, TEST 3 and TEST SHA(abc).
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_the_vectors_of_the_rfc_hold_and_no_bent_one_does(vector: tuple[str, str, str]) -> None:
    key, message, signature = (bytes.fromhex(each) for each in vector)
    assert is_signed_for_strangers(key, message, signature)
    assert not is_signed_for_strangers(key, message + b"x", signature)
    for place in range(0, 64, 7):
        bent = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        assert not is_signed_for_strangers(key, message, bent)
    # 5.1.7: S of another size is no second signature over the same.
    larger = int.from_bytes(signature[32:], "little") + ORDER
    assert not is_signed_for_strangers(key, message, signature[:32] + larger.to_bytes(32, "little"))


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(), bit=st.integers(0, 511))
def test_both_say_the_same_of_any_signature_and_of_bytes_that_are_no_key(seed: bytes, message: bytes, bit: int) -> None:
    key = LedgerKey(seed)
    signature = key.sign(message)
    flipped = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
    for public_key, signed in ((key.public_key, signature), (key.public_key, flipped), (seed, signature)):
        assert is_signed_for_strangers(public_key, message, signed) == is_signed(public_key, message, signed)
    assert is_signed_for_strangers(key.public_key, message, signature)
