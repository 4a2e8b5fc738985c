"""An issuer's keys: which of them count, how often they are asked for, and what happens while the issuer is away."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from server import jwks
from server.jwks import Freshness, Jwks, JwksUnusable, KeysUnavailable, fetch_from, keys_of
from tests.support.issuer import Issuer, Json, Key, issuing, key

FIRST, SECOND, RSA = key("first"), key("second"), key("rsa", "RS256")
FRESHNESS = Freshness(pause_s=10.0, renew_s=300.0, forget_s=3600.0)


@dataclass
class Time:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(kw_only=True)
class Stage:
    issuer: Issuer
    keys: Jwks
    time: Time


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with issuing(FIRST) as issuer:
        time = Time()
        keys = Jwks(fetch_from(issuer.url), FRESHNESS, time)
        yield Stage(issuer=issuer, keys=keys, time=time)
        await keys.close()


def document(*keys: Json) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def test_keys_are_known_by_their_id_and_sign_by_their_own_kind() -> None:
    assert keys_of(document(FIRST.public, RSA.public)).keys() == {("first", "ES256"), ("rsa", "RS256")}


def test_a_key_may_leave_out_what_is_not_needed() -> None:
    bare = {name: value for name, value in RSA.public.items() if name not in ("alg", "use", "kid")}
    assert keys_of(document(bare)).keys() == {("", "RS256")}


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"}, id="a shared secret"),
        pytest.param({"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "RS256"}, id="a shared secret said to be RSA"),
        pytest.param(RSA.public | {"alg": "HS256"}, id="RSA for HMAC"),
        pytest.param(RSA.public | {"alg": "none"}, id="RSA for nothing"),
        pytest.param(RSA.public | {"alg": "RS512"}, id="RSA with another hash"),
        pytest.param(RSA.public | {"use": "enc"}, id="for encryption"),
        pytest.param(RSA.public | {"key_ops": ["encrypt"]}, id="for other operations"),
        pytest.param(RSA.public | {"d": "AQAB"}, id="a private key"),
        pytest.param(RSA.public | {"n": "!"}, id="damaged"),
        pytest.param(RSA.public | {"n": 7}, id="no text"),
        pytest.param(key("short", "RS256", 1024).public, id="too short"),
        pytest.param(FIRST.public | {"crv": "P-384"}, id="another curve"),
        pytest.param(FIRST.public | {"crv": "secp256k1"}, id="an odd curve"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": "AA"}, id="another kind"),
        pytest.param({}, id="empty"),
        "text",
        None,
    ],
)
def test_a_key_of_any_other_sort_is_passed_over(odd: Json) -> None:
    assert keys_of(document(FIRST.public, odd)).keys() == {("first", "ES256")}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}'])
def test_what_is_no_list_of_keys_cannot_be_used(body: bytes) -> None:
    with pytest.raises(JwksUnusable):
        keys_of(body)


@pytest.mark.parametrize("body", [b'{"keys": []}', document({"kty": "oct"})])
def test_a_list_without_keys_is_one(body: bytes) -> None:
    assert keys_of(body) == {}


def test_of_two_keys_by_one_name_neither_counts() -> None:
    bare = [{name: value for name, value in each.public.items() if name != "kid"} for each in (FIRST, SECOND)]
    assert keys_of(document(*bare, RSA.public)).keys() == {("rsa", "RS256")}


async def test_keys_are_fetched_once_and_kept(stage: Stage) -> None:
    assert stage.issuer.asked == 0
    assert await stage.keys.key("first", "ES256") is not None
    assert await stage.keys.key("first", "ES256") is not None
    assert await stage.keys.key("first", "RS256") is None
    assert stage.issuer.asked == 1


async def test_a_new_key_is_fetched_when_a_token_names_it(stage: Stage) -> None:
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.keys = [FIRST, SECOND]
    stage.time.now += 10
    assert await stage.keys.key("second", "ES256") is not None
    assert stage.issuer.asked == 2


async def test_a_flood_of_unknown_keys_causes_one_fetch(stage: Stage) -> None:
    asked = (stage.keys.key(f"unknown-{n}", "ES256") for n in range(200))
    assert set(await asyncio.gather(*asked)) == {None}
    for n in range(50):
        with pytest.raises(KeysUnavailable):
            await stage.keys.key(f"later-{n}", "ES256")
    assert stage.issuer.asked == 1
    stage.time.now += 10
    assert set(await asyncio.gather(*(stage.keys.key(f"again-{n}", "ES256") for n in range(200)))) == {None}
    assert stage.issuer.asked == 2


async def test_a_new_key_that_may_not_be_fetched_yet_is_not_said_to_be_none(stage: Stage) -> None:
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.keys = [FIRST, SECOND]
    stage.time.now += 7.5
    with pytest.raises(KeysUnavailable) as early:
        await stage.keys.key("second", "ES256")
    assert early.value.retry_after_s == 3
    stage.time.now += early.value.retry_after_s
    assert await stage.keys.key("second", "ES256") is not None


@pytest.mark.parametrize("idle_s", [300, 9 * 60])
@pytest.mark.parametrize("left", [[SECOND], []], ids=["another", "none"])
async def test_a_key_that_the_issuer_took_away_is_refused_at_the_first_asking_after_a_pause(
    stage: Stage, idle_s: float, left: list[Key]
) -> None:
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.keys = left
    stage.time.now += idle_s
    assert await stage.keys.key("first", "ES256") is None
    assert stage.issuer.asked == 2


async def test_known_keys_go_on_working_while_the_issuer_is_away_and_unknown_ones_are_told_apart(stage: Stage) -> None:
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.status = 503
    stage.time.now += 3599
    assert await stage.keys.key("first", "ES256") is not None
    with pytest.raises(KeysUnavailable) as away:
        await stage.keys.key("second", "ES256")
    assert away.value.retry_after_s == 10
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.status = 200
    stage.time.now += 10
    assert await stage.keys.key("second", "ES256") is None, "the issuer answers, and has no such key"


async def test_nobody_waits_for_an_issuer_that_hangs_who_can_do_without(stage: Stage) -> None:
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.status = 503
    stage.time.now += 400
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.stalls = True
    stage.time.now += 10
    async with asyncio.timeout(1):
        assert await stage.keys.key("first", "ES256") is not None


async def test_no_key_is_believed_for_ever(stage: Stage) -> None:
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.status = 503
    stage.time.now += 3600
    with pytest.raises(KeysUnavailable):
        await stage.keys.key("first", "ES256")


async def test_a_document_that_is_none_takes_no_key_away(stage: Stage) -> None:
    assert await stage.keys.key("first", "ES256") is not None
    stage.issuer.body = b'{"error": "away"}'
    stage.time.now += 300
    with pytest.raises(KeysUnavailable):
        await stage.keys.key("second", "ES256")
    assert await stage.keys.key("first", "ES256") is not None


async def test_a_token_without_a_key_id_has_the_only_key_or_none(stage: Stage) -> None:
    assert await stage.keys.key(None, "ES256") is not None
    stage.issuer.keys = [FIRST, SECOND]
    stage.time.now += 300
    await stage.keys.key("second", "ES256")
    assert await stage.keys.key(None, "ES256") is None


async def test_who_gives_up_waiting_takes_the_fetch_from_nobody(stage: Stage) -> None:
    first = asyncio.create_task(stage.keys.key("first", "ES256"))
    second = asyncio.create_task(stage.keys.key("first", "ES256"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    assert stage.issuer.asked == 1


async def test_no_redirect_is_followed(stage: Stage) -> None:
    async with issuing(SECOND) as elsewhere:
        stage.issuer.status, stage.issuer.headers = 302, (f"Location: {elsewhere.url}",)
        with pytest.raises(JwksUnusable, match="status 302"):
            await fetch_from(stage.issuer.url)()
        assert elsewhere.asked == 0


async def test_neither_size_nor_time_is_the_issuers_to_choose(stage: Stage) -> None:
    stage.issuer.body = b" " * (jwks.MOST_BYTES + 1)
    with pytest.raises(JwksUnusable, match="bytes"):
        await fetch_from(stage.issuer.url)()
    stage.issuer.stalls = True
    with pytest.raises(JwksUnusable, match="in time"):
        await fetch_from(stage.issuer.url, timeout_s=0.05)()
    with pytest.raises(JwksUnusable):
        await fetch_from("http://127.0.0.1:9/jwks.json")()
