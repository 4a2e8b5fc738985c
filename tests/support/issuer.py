"""An issuer of tokens on loopback: keys that it publishes, rotates and takes away, and tokens signed with them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from domain.kernel import utc_now

Json = dict[str, Any]
Kind = Literal["RS256", "ES256"]
ISSUER = "https://project.supabase.example/auth/v1"
AUDIENCE = "authenticated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key pair with its id."""

    kid: str
    kind: Kind
    private: Any = field(repr=False)

    @property
    def public(self) -> Json:
        """The key as the issuer publishes it."""
        algorithm = RSAAlgorithm if self.kind == "RS256" else ECAlgorithm
        told: Json = json.loads(algorithm.to_jwk(self.private.public_key()))
        return told | {"kid": self.kid, "alg": self.kind, "use": "sig"}


@cache
def key(kid: str, kind: Kind = "ES256", bits: int = 2048) -> Key:
    """A key pair, made once."""
    made = (
        ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else rsa.generate_private_key(65537, key_size=bits)
    )
    return Key(kid=kid, kind=kind, private=made)


def claims_of(subject: str, **changed: object) -> Json:
    """The claims of somebody who signed in there just now, as Supabase Auth writes them; None leaves one out."""
    now = utc_now()
    claims: Json = {
        "iss": ISSUER,
        "sub": subject,
        "aud": AUDIENCE,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(hours=1)).timestamp()),
        "role": "authenticated",
        "aal": "aal1",
        "email": "anybody@supabase.example",
        "app_metadata": {"provider": "email"},
        "user_metadata": {"org": "borealis-tax", "role": "SYSTEM_ADMIN"},
    }
    return {name: value for name, value in (claims | changed).items() if value is not None}


def signed(by: Key, subject: str, **changed: object) -> str:
    """A token that names the key it was signed with."""
    return jwt.encode(claims_of(subject, **changed), by.private, by.kind, {"kid": by.kid})


@dataclass(kw_only=True)
class Issuer:
    """What the address answers, and how often it was asked."""

    port: int
    keys: list[Key]
    body: bytes | None = None
    """Instead of the keys."""
    status: int = 200
    headers: tuple[str, ...] = ()
    stalls: bool = False
    asked: int = 0

    @property
    def url(self) -> str:
        """The JWKS address."""
        return f"http://127.0.0.1:{self.port}/.well-known/jwks.json"

    def answer(self) -> bytes:
        """The whole response."""
        self.asked += 1
        published = json.dumps({"keys": [each.public for each in self.keys]}).encode()
        body = published if self.body is None else self.body
        more = "".join(f"{line}\r\n" for line in self.headers)
        head = f"HTTP/1.1 {self.status} -\r\nContent-Type: application/json\r\nConnection: close\r\n{more}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def issuing(*keys: Key) -> AsyncGenerator[Issuer]:
    """An issuer for the length of the block."""
    issuer = Issuer(port=0, keys=list(keys))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            answer = issuer.answer()
            if issuer.stalls:
                await reader.read(1)
            else:
                writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    issuer.port = server.sockets[0].getsockname()[1]
    try:
        yield issuer
    finally:
        server.close()
        await server.wait_closed()
