"""A webhook that heads are posted to, signed as Standard Webhooks has it."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from domain.kernel import Clock
from server.heads.http import ask
from server.heads.place import DeliveryFailed, KeptHead

SECRET_PREFIX = "whsec_"  # noqa: S105 - what marks one


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One address."""

    url: str
    secret: SecretStr | None
    clock: Clock

    @property
    def address(self) -> str:
        return f"webhook {self.url}"

    async def deliver(self, kept: KeptHead) -> None:
        """Raises  DeliveryFailed."""
        if self.secret is None:
            raise DeliveryFailed("GLOW_HEADS_WEBHOOK_SECRET is not set")
        content, message_id = kept.line(), f"head_{kept.organization_id}_{kept.name}"
        headers = {
            "Content-Type": "application/json",
            **signed_headers(self.secret, message_id, self.clock(), content),
        }
        answer = await ask("POST", self.url, headers, content)
        if not 200 <= answer.status < 300:
            raise DeliveryFailed(f"answered with status {answer.status}")


def signed_headers(secret: SecretStr, message_id: str, at: datetime, content: bytes) -> dict[str, str]:
    """By which the receiver knows who sent it, and when; the id is the same whenever the same head is sent again.

    Source  Standard Webhooks 1.0.0, symmetric signatures.
    """
    timestamp = str(int(at.timestamp()))
    signed = b".".join((message_id.encode(), timestamp.encode(), content))
    signature = base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


def key_of(secret: SecretStr) -> bytes:
    """The bytes of a secret: base64 behind `whsec_`; else the text itself.

    Raises  ValueError: it is no base64.
    """
    text = secret.get_secret_value()
    if not text.startswith(SECRET_PREFIX):
        return text.encode()
    return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
