"""A secret of HashiCorp Vault's (KV version 2), read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import orjson
from pydantic import SecretStr

if TYPE_CHECKING:
    import httpx2

TIMEOUT_S = 5.0
MOST_BYTES = 64 * 1024
_WHY = {
    400: "Vault does not understand the request",
    403: "Vault refuses VAULT_TOKEN for it",
    404: "there is nothing",
    429: "Vault stands by, or asks for patience",
    503: "Vault is sealed, or under maintenance",
}


class VaultUnusable(Exception):
    """A secret cannot be read; the words hold nothing of it, nor of the token."""


def vault_path(path: str) -> str:
    """A mount and a path in it. Raises  ValueError."""
    mount, _, rest = path.strip("/").partition("/")
    if not (mount and rest):
        raise ValueError("not a mount and a path in it, like secret/glow/ledger")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultPlace:
    """Where a secret is, and what opens it."""

    address: str
    token: SecretStr
    path: str
    """The mount, a slash, and the secret's own path in it: `secret/glow/ledger`."""

    @property
    def asked(self) -> str:
        """The path of the request."""
        mount, _, rest = self.path.strip("/").partition("/")
        return f"/v1/{quote(mount, safe='')}/data/{quote(rest)}"

    def read(self) -> Mapping[str, str]:
        """The fields of its newest version that are texts. It waits for the network.

        Raises  VaultUnusable.
        """
        import httpx2

        headers = {"X-Vault-Token": self.token.get_secret_value(), "X-Vault-Request": "true"}
        try:
            with (
                httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False) as client,
                client.stream("GET", f"{self.address}{self.asked}", headers=headers) as answer,
            ):
                if answer.status_code != 200:
                    why = _WHY.get(answer.status_code, "Vault answers otherwise than with a secret")
                    raise VaultUnusable(f"{self.asked}: {why} (status {answer.status_code})")
                return _fields(_bounded(answer), self.asked)
        except (httpx2.HTTPError, OSError) as broken:
            raise VaultUnusable(f"VAULT_ADDR {self.address} cannot be reached: {type(broken).__name__}") from None


def _bounded(answer: "httpx2.Response") -> bytes:
    held = bytearray()
    for part in answer.iter_bytes():
        held += part
        if len(held) > MOST_BYTES:
            raise VaultUnusable(f"the secret is larger than {MOST_BYTES} bytes")
    return bytes(held)


def _fields(document: bytes, asked: str) -> Mapping[str, str]:
    try:
        fields = cast("dict[str, dict[str, dict[str, object]]]", orjson.loads(document))["data"]["data"]
        return {name: value for name, value in fields.items() if isinstance(value, str)}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise VaultUnusable(f"{asked}: what came is no secret of KV version 2") from None
