"""The objects of the store: listed, fetched as they were listed, and never overwritten unseen."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.config import settings
from pipelines.errors import SwathError
from pipelines.files import replacing

AT_ONCE = 16  # requests
_PART = 8 * 2**20  # bytes that are sent in one request
_WHOLE = 4 * 2**30  # bytes that a server copies in one request
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412")
_MISSING = ("404", "NoSuchKey", "NotFound")


class Conflict(SwathError):
    """Another process wrote the same object since this one read it."""


@dataclass(frozen=True)
class Stored:
    """An object: its key below the store's address, its ETag without quotes, when it was written (seconds)."""

    key: str
    etag: str
    modified: float


class Store:
    """What lies below one address, ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``.

    Credentials and endpoint are those of every AWS client: ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL`` and so on.
    Every method raises ``SwathError`` where the store cannot be reached.
    """

    def __init__(self, address: str) -> None:
        scheme, _, place = address.partition("://")
        self.bucket, _, prefix = place.strip("/").partition("/")
        if scheme != "s3" or not self.bucket:
            raise SwathError(f"SWATH_STORE is {address!r}, which is no address such as s3://bucket/prefix; correct it.")
        self._prefix = f"{prefix}/" if prefix else ""
        self.address = f"s3://{self.bucket}/{self._prefix}".rstrip("/")
        import boto3  # takes a third of a second, which whoever has no store should not wait
        from botocore.config import Config

        retries: Any = {"mode": "standard", "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS") or 6)}
        self._client: Any = boto3.client("s3", config=Config(max_pool_connections=AT_ONCE, retries=retries))

    def name(self, key: str) -> str:
        """The object's whole key in the bucket."""
        return f"{self._prefix}{key}"

    def folder(self, key: str) -> Iterator[Stored]:
        """All objects below the folder ``key``, by key."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.name(f"{key}/" if key else "")
        )
        with self._asked(key):
            for page in pages:
                for one in page.get("Contents", ()):
                    found = one["Key"].removeprefix(self._prefix)
                    if {"", ".", ".."} & set(found.split("/")):  # no path of ours, nor below a folder
                        continue
                    yield Stored(found, one["ETag"].strip('"'), one["LastModified"].timestamp())

    def folders(self, key: str) -> list[str]:
        """Keys of the folders in the folder ``key``."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.name(f"{key}/"), Delimiter="/"
        )
        with self._asked(key):
            found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ())]
        return [name.removeprefix(self._prefix).rstrip("/") for name in found]

    def one(self, key: str) -> Stored | None:
        """The object ``key``, if there is one."""
        try:
            with self._asked(key):
                head = self._client.head_object(Bucket=self.bucket, Key=self.name(key))
        except _Missing:
            return None
        return Stored(key, head["ETag"].strip('"'), head["LastModified"].timestamp())

    def fetch(self, stored: Stored, target: Path) -> None:
        """Write the very object to ``target``. Raises ``SwathError`` if it changed or went since it was listed."""
        with replacing(target) as draft:
            try:
                with self._asked(stored.key), draft.open("wb") as out:
                    found = self._client.get_object(
                        Bucket=self.bucket, Key=self.name(stored.key), IfMatch=f'"{stored.etag}"'
                    )
                    shutil.copyfileobj(found["Body"], out, 2**20)
            except _Missing:
                raise Conflict(f"{self.address}/{stored.key} was removed meanwhile; run the command again.") from None
            os.utime(draft, (time.time(), found["LastModified"].timestamp()))

    def read(self, key: str) -> bytes | None:
        """The bytes of the small object ``key``, if there is one."""
        try:
            with self._asked(key):
                return bytes(self._client.get_object(Bucket=self.bucket, Key=self.name(key))["Body"].read())
        except _Missing:
            return None

    def put(self, source: Path, key: str) -> Stored:
        """Upload the file ``source``, whatever was there."""
        size = source.stat().st_size
        with self._asked(key):
            if size <= _PART:
                return self._put(source, key)
            self._client.upload_file(str(source), self.bucket, self.name(key))
        return self._sent(key, size)

    def exchange(self, source: Path, key: str, former: Stored | None) -> Stored:
        """Upload the small file ``source`` in the place of ``former``, or of nothing.

        Raises ``Conflict`` if that is not what is there any more, unless the same bytes are there already.
        """
        condition = {"IfMatch": f'"{former.etag}"'} if former else {"IfNoneMatch": "*"}
        try:
            with self._asked(key):
                return self._put(source, key, **condition)
        except (Conflict, _Missing):
            found = self.one(key)
            if self.read(key) == source.read_bytes() and found is not None and found == self.one(key):
                return found  # an answer that was lost makes the client ask again
            raise Conflict(f"Another process has changed {self.address}/{key}; run the command again.") from None

    def copy(self, stored: Stored, key: str) -> Stored:
        """Copy the very object ``stored`` to ``key`` within the store. Raises ``Conflict`` if it changed."""
        from boto3.s3.transfer import TransferConfig

        whence = {"Bucket": self.bucket, "Key": self.name(stored.key)}
        try:
            with self._asked(stored.key):
                self._client.copy(
                    whence,
                    self.bucket,
                    self.name(key),
                    {"CopySourceIfMatch": f'"{stored.etag}"'},
                    Config=TransferConfig(multipart_threshold=_WHOLE),
                )
        except _Missing:
            raise Conflict(f"{self.address}/{stored.key} was removed meanwhile; run the command again.") from None
        return self._sent(key)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is not there counts as removed."""
        names = [{"Key": self.name(key)} for key in sorted(keys)]
        for first in range(0, len(names), 1000):
            with self._asked(names[first]["Key"]):
                said = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": names[first : first + 1000], "Quiet": True}
                )
            if failed := said.get("Errors"):
                raise SwathError(f"{self.address}/{failed[0]['Key']} cannot be removed: {failed[0].get('Message')}.")

    def _put(self, source: Path, key: str, **condition: str) -> Stored:
        """In one request, whose answer names the very version: who asks later may be told of another's."""
        answer = self._client.put_object(Bucket=self.bucket, Key=self.name(key), Body=source.read_bytes(), **condition)
        return Stored(key, answer["ETag"].strip('"'), float(int(time.time())))

    def _sent(self, key: str, size: int | None = None) -> Stored:
        try:
            with self._asked(key):
                head = self._client.head_object(Bucket=self.bucket, Key=self.name(key))
        except _Missing:
            head = None
        if head is None or size not in (None, head["ContentLength"]):
            raise Conflict(f"{self.address}/{key} was changed as soon as it was written; run the command again.")
        return Stored(key, head["ETag"].strip('"'), head["LastModified"].timestamp())

    @contextmanager
    def _asked(self, key: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _CHANGED:
                raise Conflict(f"{self.address}/{key} was changed meanwhile; run the command again.") from None
            if code in _MISSING:
                raise _Missing(key) from None
            raise SwathError(f"The store {self.address} refuses {key!r}: {error}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise SwathError(
                f"The store {self.address} does not answer ({error}); check SWATH_STORE, AWS_ENDPOINT_URL and whether "
                "it runs."
            ) from error


class _Missing(Exception):
    """There is no such object."""


_ASKED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_MAX_ATTEMPTS")
_making = threading.Lock()


def store() -> Store:
    """The store that ``SWATH_STORE`` names; its connections belong to the process that asks."""
    address = settings().store
    assert address is not None
    with _making:  # boto3 makes clients in one thread at a time
        return _store(address, os.getpid(), _identity())


def _identity() -> Sequence[str | None]:
    return tuple(os.environ.get(name) for name in _ASKED)


@lru_cache(maxsize=4)
def _store(address: str, process: int, identity: Sequence[str | None]) -> Store:
    return Store(address)
