"""Places of files for tests: a folder of the test's own, and a bucket on loopback."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from domain.kernel import utc_now
from knowledge.ports import Storage
from server.sigv4 import Credentials
from server.storage.bucket import BucketStorage
from server.storage.folder import FolderStorage
from tests.support.fake_bucket import BUCKET, KEY_ID, REGION, SECRET, FakeBucket, fake_bucket

KINDS = ("folder", "s3")


def bucket_on(server: FakeBucket, secret: str = SECRET, prefix: str = "glow/") -> BucketStorage:
    """The storage in that bucket."""
    return BucketStorage(
        endpoint=server.url,
        region=REGION,
        bucket=BUCKET,
        prefix=prefix,
        credentials=Credentials(access_key_id=KEY_ID, secret_access_key=secret),
        clock=utc_now,
        pause_s=0,
    )


@contextmanager
def storage_of_kind(kind: str, folder: Path) -> Generator[Storage]:
    """One for the length of the block."""
    if kind == "folder":
        yield FolderStorage(folder / "files")
        return
    with fake_bucket() as server:
        yield bucket_on(server)
        assert server.faults == []
