"""Which place the settings name."""

from domain.kernel import utc_now
from knowledge.ports import Storage
from server.settings import FilesIn, Settings, SettingsInvalid
from server.sigv4 import Credentials
from server.storage.bucket import BucketStorage
from server.storage.folder import FolderStorage


def storage_of(settings: Settings, kind: FilesIn | None = None) -> Storage | None:
    """The place of files that the settings mean; `kind`: that one of them. None: the database itself.

    Raises  SettingsInvalid: a bucket is meant, and not named.
    """
    match kind or settings.files_kept_in:
        case "database":
            return None
        case "folder":
            return FolderStorage((settings.files_folder or settings.home.path / "files").expanduser())
        case "s3":
            return _bucket(settings)


def _bucket(settings: Settings) -> BucketStorage:
    bucket, key_id, key = settings.s3_bucket, settings.s3_access_key_id, settings.s3_secret_access_key
    if not bucket or not key_id or key is None:
        raise SettingsInvalid(("GLOW_S3_BUCKET, GLOW_S3_ACCESS_KEY_ID and GLOW_S3_SECRET_ACCESS_KEY: set all three",))
    endpoint = (
        f"https://s3.{settings.s3_region}.amazonaws.com" if settings.s3_endpoint is None else settings.s3_endpoint
    )
    return BucketStorage(
        endpoint=endpoint.rstrip("/"),
        region=settings.s3_region,
        bucket=bucket,
        prefix=settings.s3_prefix,
        credentials=Credentials(access_key_id=key_id, secret_access_key=key.get_secret_value()),
        clock=utc_now,
    )
