"""Objects below an address such as `s3://bucket/folder`.

The files of data and of served versions may lie in a bucket. TensorFlow 2.21 has no file system for
S3, so they are read and written through s3fs, fsspec's file system for it. Credentials, region,
endpoint and retries come from where all programs for S3 take them: the variables `AWS_...`, the
profiles in `~/.aws`, or the role of the machine.

What is read is exactly what was listed: every request for content names the entity tag (ETag) of
the listed object, so a store answers with an error if the object has been replaced since.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import io
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from components.messages import shown, told

if TYPE_CHECKING:
    import s3fs

SCHEME = "s3://"
# As much is fetched at a time; nearly every image is smaller.
_BLOCK_BYTES = 2**22
# A store lists 1,000 objects at a time.
_MOST_PAGES = 20_000
# As many names a request to remove objects may hold.
_MOST_REMOVED = 1000
# A connection that ends amid an answer; s3fs repeats other requests by itself.
_TRIES = 3
_DENIED = (
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "403",
)
# The first of them that is set counts.
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_ENDPOINT_SCHEMES = ("http://", "https://")
_CREDENTIALS = (
    "credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in a profile (AWS_PROFILE), or "
    "those of the machine's role"
)


class ObjectStoreError(Exception):
    """A request that a store refused or did not answer.

    It is neither an `OSError` nor an error of a reader: those may mean that one file is bad, and
    such a file may be left out.

    Attributes:
      is_passing: Whether the same request may succeed later.
    """

    def __init__(self, message: str, is_passing: bool = False):
        """Takes a message with what was found, what was expected and how to fix it."""
        super().__init__(message)
        self.is_passing = is_passing


class ObjectExistsError(ObjectStoreError):
    """An object that was to be new exists."""


@dataclasses.dataclass(frozen=True)
class Object:
    """An object as it was listed.

    Attributes:
      path: Its key, counted from the folder.
      size: Bytes.
      tag: Its entity tag, which changes with the content.
      modified: When it was written, in nanoseconds since 1970.
    """

    path: str
    size: int
    tag: str
    modified: int


@dataclasses.dataclass(frozen=True)
class Entries:
    """What lies directly in a folder: names, sorted."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


def is_address(place: object) -> bool:
    """Whether a place is in a bucket."""
    return str(place).startswith(SCHEME)


class Folder:
    """All objects whose keys begin with that of a folder; the folder itself need not exist."""

    def __init__(self, address: str):
        """Names the folder; `address` is `s3://bucket` or `s3://bucket/folder`."""
        self._bucket, _, folder = address.removeprefix(SCHEME).partition("/")
        folder = folder.rstrip("/")
        self._prefix = f"{folder}/" if folder else ""

    @property
    def address(self) -> str:
        """The address, without a slash at its end."""
        return f"{SCHEME}{self._bucket}/{self._prefix}".rstrip("/")

    def shown(self, path: str) -> str:
        """The address of an object, as a message may show it."""
        return shown(f"{self.address}/{path}" if path else self.address)

    def list(self, below: str = "") -> Iterator[Object]:
        """Yields all objects in the order of the store.

        Args:
          below: Beginning of the paths to list.

        Raises:
          ObjectStoreError: The store refuses, does not answer, or its list does not end.
        """
        for page in self._pages(Prefix=f"{self._prefix}{below}"):
            for each in page.get("Contents", ()):
                yield Object(
                    path=each["Key"][len(self._prefix) :],
                    size=each["Size"],
                    tag=each["ETag"],
                    modified=_nanoseconds(each["LastModified"]),
                )

    def entries(self) -> Entries:
        """What lies directly in the folder.

        Raises:
          ObjectStoreError: As for `list`.
        """
        folders, files = set(), set()
        for page in self._pages(Prefix=self._prefix, Delimiter="/"):
            folders |= {each["Prefix"] for each in page.get("CommonPrefixes", ())}
            files |= {each["Key"] for each in page.get("Contents", ())}
        start = len(self._prefix)
        return Entries(
            tuple(sorted(key[start:].rstrip("/") for key in folders)),
            # The folder itself may be an object, without content.
            tuple(sorted(key[start:] for key in files if key != self._prefix)),
        )

    def _pages(self, **asked: str) -> Iterator[dict[str, Any]]:
        for _ in range(_MOST_PAGES):
            with _told(self.address, "listed"):
                page = _store().call_s3("list_objects_v2", Bucket=self._bucket, **asked)
            yield page
            following = page.get("NextContinuationToken")
            if not page.get("IsTruncated"):
                return
            if not following or following == asked.get("ContinuationToken"):
                break
            asked["ContinuationToken"] = following
        raise ObjectStoreError(
            f"the list of objects below {shown(self.address)} does not end; expected at most "
            f"{_MOST_PAGES} pages of 1,000 objects. Name a folder with fewer objects; if it has "
            "fewer, the store is at fault."
        )

    def find(self, path: str) -> Object | None:
        """Asks for one object; None if it does not exist.

        Raises:
          ObjectStoreError: The store refuses or does not answer.
        """
        with _told(self.shown(path), "read"):
            try:
                head = _store().call_s3("head_object", **self._place(path))
            except FileNotFoundError:
                return None
        return Object(path, head["ContentLength"], head["ETag"], _nanoseconds(head["LastModified"]))

    def open(self, listed: Object) -> BinaryIO:
        """Opens an object for reading, at any position.

        Raises:
          ObjectStoreError: Here or while it is read: it has changed since it was listed, or the
            store refuses or does not answer.
        """
        # Imported here, as s3fs is: nobody without a bucket waits for it.
        from fsspec import caching

        def fetch(start: int, end: int) -> bytes:
            return self._fetch(listed, start, end)

        cache = caching.ReadAheadCache(_BLOCK_BYTES, fetch, listed.size)
        return cast(BinaryIO, io.BufferedReader(_Stream(cache, listed.size)))

    def read(self, listed: Object) -> bytes:
        """The content of an object.

        Raises:
          ObjectStoreError: As for `open`.
        """
        return self._fetch(listed, 0, listed.size)

    def _fetch(self, listed: Object, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, all of them."""
        if start >= end:
            return b""
        from fsspec.asyn import sync

        store = _store()
        asked = {
            **self._place(listed.path),
            "IfMatch": listed.tag,
            "Range": f"bytes={start}-{end - 1}",
        }

        async def content() -> bytes:
            answer = await store._call_s3("get_object", **asked)
            async with answer["Body"] as body:
                return cast(bytes, await body.read())

        left = _TRIES
        while True:
            left -= 1
            try:
                with _told(self.shown(listed.path), "read"):
                    fetched = sync(store.loop, content)
                self._check_whole(listed, len(fetched), end - start)
                return fetched
            except ObjectStoreError as error:
                if not error.is_passing or not left:
                    raise

    def _check_whole(self, listed: Object, length: int, expected: int) -> None:
        if length != expected:
            raise ObjectStoreError(
                f"{self.shown(listed.path)} ended after {length} of {expected} bytes; expected "
                "all that the store announces. Run again; if it stays so, copy the object again.",
                is_passing=True,
            )

    def write(self, path: str, content: bytes, *, only_new: bool = False) -> None:
        """Writes an object, whole or not at all.

        Args:
          path: Path of the object.
          content: Its bytes.
          only_new: Whether to refuse if the object exists, which the store decides (If-None-Match).

        Raises:
          ObjectExistsError: It exists.
          ObjectStoreError: The store refuses or does not answer.
        """
        condition = {"IfNoneMatch": "*"} if only_new else {}
        with _told(self.shown(path), "written"):
            try:
                _store().call_s3("put_object", **self._place(path), Body=content, **condition)
            except FileExistsError as error:
                raise ObjectExistsError(
                    f"{self.shown(path)} exists; expected no such object yet. Another writer was "
                    "quicker: run again."
                ) from error

    def upload(self, file: str | os.PathLike[str], path: str) -> None:
        """Writes an object from a file, in parts if it is large.

        Raises:
          ObjectStoreError: The store refuses or does not answer.
          OSError: The file cannot be read.
        """
        with _told(self.shown(path), "written"):
            _store().put_file(os.fspath(file), f"{self._bucket}/{self._prefix}{path}")

    def remove(self, paths: Sequence[str]) -> None:
        """Removes objects; those that do not exist do not matter.

        Raises:
          ObjectStoreError: The store refuses or does not answer.
        """
        for start in range(0, len(paths), _MOST_REMOVED):
            part = paths[start : start + _MOST_REMOVED]
            named = [{"Key": f"{self._prefix}{path}"} for path in part]
            with _told(self.address, "removed"):
                answer = _store().call_s3(
                    "delete_objects", Bucket=self._bucket, Delete={"Objects": named, "Quiet": True}
                )
            if errors := answer.get("Errors"):
                raise ObjectStoreError(
                    f"{shown(errors[0]['Key'])} cannot be removed ({errors[0]['Code']}); expected "
                    f"the right to remove objects below {shown(self.address)}. Grant it."
                )

    def _place(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{path}"}


def odd_name(path: str) -> str | None:
    """Why a key cannot be the path of a file; None if it can.

    Args:
      path: Key, counted from the folder, without a slash at its end.
    """
    parts = path.split("/")
    if "" in parts:
        return "an empty name between two slashes"
    if "." in parts or ".." in parts:
        return "a name that is `.` or `..`"
    if "\0" in path:
        return "a zero byte in its name"
    return None


class _Stream(io.RawIOBase):
    """The bytes of an object."""

    def __init__(self, cache: Any, size: int):
        self._cache = cache
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        content = self._cache._fetch(self._position, end)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError("a position before the beginning")
        self._position = min(origin + offset, self._size)
        return self._position

    def tell(self) -> int:
        return self._position


def _store() -> s3fs.S3FileSystem:
    """The one file system of this process; fsspec keeps it, and makes another after a fork."""
    import s3fs

    return s3fs.S3FileSystem()


def _nanoseconds(moment: datetime.datetime) -> int:
    return int(moment.timestamp()) * 10**9


@contextlib.contextmanager
def _told(place: str, action: str) -> Iterator[None]:
    """Tells in words of what a store says, or the way to it.

    Args:
      place: Address for messages.
      action: What is asked for: `listed`, `read`, `written` or `removed`.

    Raises:
      ObjectStoreError: The store refuses or does not answer.
    """
    try:
        yield
    except ObjectStoreError:
        raise
    # Errors of aiohttp, botocore, s3fs and of the system, which have no class in common.
    except Exception as error:
        raise _in_words(error, place, action) from error


def _in_words(error: Exception, place: str, action: str) -> ObjectStoreError:
    from botocore import exceptions

    bucket = place.removeprefix(SCHEME).partition("/")[0]
    code = _code(error)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return ObjectStoreError(
            f"{place} cannot be {action} without credentials; expected {_CREDENTIALS}. Set them."
        )
    if isinstance(error, exceptions.ProfileNotFound):
        return ObjectStoreError(
            f"{place} cannot be {action} ({shown(str(error))}); expected the name of a profile in "
            "AWS_PROFILE that ~/.aws has. Correct it, or leave it out."
        )
    if code in ("NoSuchBucket", "InvalidBucketName"):
        return ObjectStoreError(
            f"{place} cannot be {action}: there is no bucket {bucket}; expected one that exists. "
            "Create it, or correct the address; for another store than Amazon's, set "
            "AWS_ENDPOINT_URL."
        )
    if code in ("NoSuchKey", "404", "PreconditionFailed", "412"):
        return ObjectStoreError(
            f"{place} was replaced or removed since it was listed; expected objects at rest. Run "
            "again when all of them are there; to avoid this, upload to a folder of its own."
        )
    if code in _DENIED:
        return ObjectStoreError(
            f"{place} cannot be {action}: access was denied ({code}); expected {_CREDENTIALS} that "
            f"may do so. Check them and the policy of the bucket {bucket}."
        )
    lost = _connection_fault(error)
    if code is None and lost is None and (fault := _endpoint_fault()):
        return ObjectStoreError(f"{place} cannot be {action}: {fault}")
    return ObjectStoreError(
        f"{place} cannot be {action} ({code or lost or told(error)}); expected an answer of the "
        "store. Check the network and AWS_ENDPOINT_URL, and run again.",
        is_passing=True,
    )


def _connection_fault(error: Exception) -> str | None:
    """Which store a request did not reach, or had no answer from; None for another error."""
    from botocore import exceptions

    url = getattr(error, "kwargs", {}).get("endpoint_url")
    if not url:
        return None
    parts = urllib.parse.urlsplit(str(url))
    store = shown(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    if isinstance(error, exceptions.SSLError):
        return f"no connection with TLS to {store}"
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        return f"no connection to {store}"
    return f"no answer from {store}"


def _endpoint_fault() -> str | None:
    """What is wrong with the address of the store in the user's settings; None if nothing is."""
    address = _endpoint()
    if address is None or _is_endpoint(address):
        return None
    names = [name for name in _ENDPOINT_VARIABLES if os.environ.get(name) == address]
    without = ", without a password or a query" if set("@?#") & set(address) else ""
    return (
        f"{names[0] if names else 'endpoint_url in ~/.aws/config'}: found "
        f"'{_without_secrets(address)}'; expected an address with http:// or https://, such as "
        f"http://HOST:9000{without}. Correct it."
    )


def _endpoint() -> str | None:
    """The address of the store in the environment or in ~/.aws; None if there is none."""
    from botocore import configprovider, exceptions, session

    settings = session.get_session()
    try:
        provider = configprovider.ConfiguredEndpointProvider(
            full_config=settings.full_config,
            scoped_config=settings.get_scoped_config(),
            client_name="s3",
        )
        address = provider.provide()
    except exceptions.BotoCoreError:
        return None
    return None if address is None else str(address)


def _is_endpoint(address: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(address)
        # An error where the port is no number.
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_plain = not any(each.isspace() or each in "@?#" for each in address)
    return address.lower().startswith(_ENDPOINT_SCHEMES) and has_place and is_plain


def _without_secrets(address: str) -> str:
    """An address for a message; redaction knows only those of the right form."""
    scheme = next((each for each in _ENDPOINT_SCHEMES if address.startswith(each)), "")
    _, at, place = address.removeprefix(scheme).rpartition("@")
    place, query, _ = place.partition("?")
    return shown(f"{scheme}{'***@' if at else ''}{place}{'?***' if query else ''}")


def _code(error: Exception) -> str | None:
    """The code of a store's answer; None if it did not answer."""
    for each in (error, error.__cause__):
        answer = getattr(each, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code"))
    return None
