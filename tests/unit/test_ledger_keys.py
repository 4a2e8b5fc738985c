"""Where the ledger's key comes from: the environment, a file, Vault, or a home that makes one."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from server.home import GlowHome
from server.ledger_keys import KeySource, LedgerKeyUnusable
from server.settings import SettingsInvalid, load_settings
from server.vault import VaultPlace
from tests.support.environment import bare_environment, unused_port
from tests.support.ledger import KEY, OTHER_KEY

TOKEN = "hvs.reads-the-ledger"
TEXT, OTHER_TEXT = (base64.b64encode(bytes(range(n, n + 32))).decode() for n in (0, 1))


class Vault(ThreadingHTTPServer):
    """A fake of Vault's KV version 2: secrets by their path, for one token."""

    secrets: dict[str, Any]
    is_sealed: bool = False
    raw: bytes | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        vault = self.server
        assert isinstance(vault, Vault)
        mount, _, path = self.path.removeprefix("/v1/").partition("/data/")
        secret = vault.secrets.get(f"{mount}/{path}")
        if vault.is_sealed:
            self._answer(503, {"errors": ["Vault is sealed"]})
        elif self.headers["X-Vault-Token"] != TOKEN:
            self._answer(403, {"errors": ["permission denied"]})
        elif secret is None:
            self._answer(404, {"errors": []})
        else:
            self._answer(200, {"data": {"data": secret, "metadata": {"version": 3}}})

    def _answer(self, status: int, body: object) -> None:
        vault = self.server
        assert isinstance(vault, Vault)
        raw = json.dumps(body).encode() if vault.raw is None else vault.raw
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody looks."""


@pytest.fixture
def vault() -> Iterator[Vault]:
    with Vault(("127.0.0.1", 0), Handler) as server:
        server.secrets = {"secret/glow/ledger": {"key": TEXT, "previous_key": OTHER_TEXT, "note": 3}}
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    with bare_environment(tmp_path) as environment:
        yield environment


def at(vault: Vault, tmp_path: Path, path: str = "secret/glow/ledger", token: str = TOKEN) -> KeySource:
    place = VaultPlace(address=vault.url, token=SecretStr(token), path=path)
    return KeySource(vault=place, home=GlowHome(tmp_path / "home"))


def test_vault_gives_the_key_and_the_one_before(vault: Vault, environment: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("VAULT_ADDR", vault.url),
        ("VAULT_TOKEN", TOKEN),
        ("GLOW_LEDGER_VAULT_PATH", "secret/glow/ledger"),
    ):
        environment.setenv(name, value)
    keys = load_settings().ledger_key_source.keys()
    assert keys.signer.key_id == KEY.key_id
    assert [each.key_id for each in keys.previous] == [OTHER_KEY.key_id]


@pytest.mark.parametrize(
    ("path", "token", "says"),
    [
        ("secret/glow/ledger", "hvs.another", "Vault refuses VAULT_TOKEN for it"),
        ("secret/glow/elsewhere", TOKEN, "/v1/secret/data/glow/elsewhere: there is nothing"),
        ("secret/glow/empty", TOKEN, "has no field key"),
        ("secret/glow/wrong", TOKEN, "field key: not 32 bytes in base64"),
    ],
)
def test_what_vault_does_not_give_is_told_with_what_to_mend_and_no_secret(
    vault: Vault, tmp_path: Path, path: str, token: str, says: str
) -> None:
    vault.secrets |= {"secret/glow/empty": {"other": "x"}, "secret/glow/wrong": {"key": "hunter2"}}
    with pytest.raises(LedgerKeyUnusable) as raised:
        at(vault, tmp_path, path, token).keys()
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert token not in str(raised.value)


def test_a_vault_that_is_sealed_away_or_none_is_told_apart(vault: Vault, tmp_path: Path) -> None:
    source = at(vault, tmp_path)
    vault.is_sealed = True
    with pytest.raises(LedgerKeyUnusable, match="Vault is sealed"):
        source.keys()
    vault.is_sealed = False
    for raw in (b"<html>", b"[]", b'{"data": null}', b'{"data": {"data": 3}}'):
        vault.raw = raw
        with pytest.raises(LedgerKeyUnusable, match="no secret of KV version 2"):
            source.keys()
    vault.raw = b" " * (65 * 1024)
    with pytest.raises(LedgerKeyUnusable, match="larger than"):
        source.keys()
    away = VaultPlace(address=f"http://127.0.0.1:{unused_port()}", token=SecretStr(TOKEN), path="secret/glow/ledger")
    with pytest.raises(LedgerKeyUnusable, match="cannot be reached"):
        KeySource(vault=away, home=GlowHome(tmp_path / "home")).keys()


def test_a_file_gives_the_key_and_what_is_wrong_with_it_is_told(tmp_path: Path) -> None:
    path, home = tmp_path / "key", GlowHome(tmp_path / "home")
    with pytest.raises(LedgerKeyUnusable, match="GLOW_LEDGER_KEY_FILE"):
        KeySource(file=path, home=home).keys()
    path.write_text("no key\n", encoding="utf-8")
    with pytest.raises(LedgerKeyUnusable, match="not 32 bytes"):
        KeySource(file=path, home=home).keys()
    path.write_text(f"{TEXT}\n", encoding="utf-8")
    assert KeySource(file=path, home=home).keys().signer.key_id == KEY.key_id


def test_the_key_that_the_home_kept_vouches_for_the_one_that_is_set_later(tmp_path: Path) -> None:
    home = GlowHome(tmp_path / "home")
    assert KeySource(home=home).found() is None
    made = KeySource(home=home).keys()
    assert (made.signer.key_id, list(made.previous)) == (KeySource(home=home).keys().signer.key_id, [])
    later = KeySource(text=SecretStr(TEXT), previous=SecretStr(OTHER_TEXT), home=home).keys()
    assert later.signer.key_id == KEY.key_id
    assert [each.key_id for each in later.previous] == [OTHER_KEY.key_id, made.signer.key_id]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"GLOW_LEDGER_KEY": TEXT, "GLOW_LEDGER_KEY_FILE": "/run/key"}, "GLOW_LEDGER_KEY: set it, or"),
        ({"GLOW_LEDGER_VAULT_PATH": "secret/glow/ledger"}, "set VAULT_ADDR and VAULT_TOKEN too"),
        ({"GLOW_LEDGER_VAULT_PATH": "secret"}, "not a mount and a path in it"),
        (
            {
                "GLOW_LEDGER_VAULT_PATH": "secret/glow/ledger",
                "VAULT_ADDR": "http://vault.example:8200",
                "VAULT_TOKEN": TOKEN,
            },
            "VAULT_ADDR: must be https",
        ),
        ({"GLOW_LEDGER_PREVIOUS_KEY": "hunter2"}, "GLOW_LEDGER_PREVIOUS_KEY: not 32 bytes in base64"),
    ],
)
def test_settings_that_leave_the_key_open_are_refused(
    environment: pytest.MonkeyPatch, given: dict[str, str], says: str
) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsInvalid) as raised:
        load_settings()
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)
