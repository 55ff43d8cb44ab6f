"""Downloads Fashion-MNIST from its official sources."""

from __future__ import annotations

import hashlib
import http.client
import pathlib
import urllib.request
from collections.abc import Callable

from components.disk import write_whole
from components.messages import shown
from pipeline.errors import DataError

# The official sources and the MD5 sums they publish.
_SOURCES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_TIMEOUT_SECONDS = 10
# Of an answer without end, no more is read. The largest file has 26 MB.
_MOST_BYTES = 2**25


def is_complete(folder: pathlib.Path) -> bool:
    """Whether a folder has all four files."""
    return all((folder / name).is_file() for name in _MD5)


def fetch_missing(folder: pathlib.Path, notify: Callable[[str], None]) -> bool:
    """Downloads the files that are missing.

    Args:
      folder: destination of the files.
      notify: receives a line at the start, and one for each source that fails.

    Returns:
      Whether all four files are there now.
    """
    notify(f"Downloading Fashion-MNIST (30 MB) to {folder}")
    for source in _SOURCES:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, md5 in _MD5.items():
                _download_file(source + name, folder / name, md5)
            return True
        # The sources themselves are sound, so it is a proxy; the error may repeat its password.
        except (ValueError, http.client.InvalidURL):
            notify(
                f"{source} cannot be used: the environment names a proxy whose address cannot be "
                "read; expected http://HOST:PORT. Correct http_proxy, https_proxy or all_proxy."
            )
        except (OSError, http.client.HTTPException, DataError) as error:
            notify(f"{source} cannot be used: {shown(str(error))}")
    return False


def _download_file(url: str, path: pathlib.Path, md5: str) -> None:
    if path.is_file():
        return
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
        content = response.read(_MOST_BYTES)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{url} does not have the published checksum")
    write_whole(path, content)
