"""The places that the operator's file names, with the secrets of the environment."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from domain.kernel import Clock
from server.heads.file import HeadFile
from server.heads.place import Place, Way
from server.heads.s3 import Bucket
from server.heads.webhook import Webhook
from server.settings import Settings
from server.sigv4 import Credentials
from server.system_config import HeadPlace, HeadsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSecrets:
    """What opens those places; each is shown to places of its kind only."""

    webhook: SecretStr | None = field(default=None)
    s3: Credentials | None = field(default=None)


def places_of(config: HeadsConfig, secrets: HeadSecrets, clock: Clock) -> Sequence[Place]:
    """In the order in which the file names them."""
    return [
        Place(name=named.name, way=_way(named, secrets, clock), organizations=named.organizations)
        for named in config.to
    ]


def secrets_of(settings: Settings) -> HeadSecrets:
    """Those that the environment gives."""
    key_id, key = settings.heads_s3_access_key_id, settings.heads_s3_secret_access_key
    if key_id is None or key is None:
        return HeadSecrets(webhook=settings.heads_webhook_secret)
    s3 = Credentials(access_key_id=key_id, secret_access_key=key.get_secret_value())
    return HeadSecrets(webhook=settings.heads_webhook_secret, s3=s3)


def _way(named: HeadPlace, secrets: HeadSecrets, clock: Clock) -> Way:
    if named.file is not None:
        return HeadFile(Path(named.file))
    if named.webhook is not None:
        return Webhook(url=named.webhook, secret=secrets.webhook, clock=clock)
    assert named.s3 is not None  # noqa: S101 - the file was refused else
    bucket = named.s3
    return Bucket(
        endpoint=bucket.endpoint.rstrip("/") if bucket.endpoint else f"https://s3.{bucket.region}.amazonaws.com",
        region=bucket.region,
        bucket=bucket.bucket,
        prefix=bucket.prefix,
        credentials=secrets.s3,
        clock=clock,
    )
