"""An S3 of its own: moto's server, as a process, with nothing in it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.client
import http.server
import os
import pathlib
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session

# What no message, record or page may hold.
SECRET = "hunter2-secret-of-the-bucket"
_KEY = "AKIAHUNTER2EXAMPLE00"


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Starts a server; yields its address."""
    command = [pathlib.Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", "0"]
    # Few names on a page, so that every list has several.
    variables = {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "4"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables)
    try:
        address = next(line.split()[-1] for line in process.stderr if "Running on" in line)
        # It logs each request, and would stand still before a full pipe.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield address
    finally:
        process.kill()
        process.wait()


def environment(address: str) -> dict[str, str]:
    """The variables with which programs find a server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        # Else a machine in a cloud would be asked for its role.
        "AWS_EC2_METADATA_DISABLED": "true",
        # Neither pauses nor many tries: the server is on this machine.
        "AWS_MAX_ATTEMPTS": "2",
        "no_proxy": "127.0.0.1",
    }


@functools.cache
def _client(address: str) -> Any:
    session = botocore.session.get_session()
    session.set_credentials(_KEY, SECRET)
    return session.create_client("s3", "us-east-1", endpoint_url=address)


class Bucket:
    """A bucket, as another program than ours sees it."""

    def __init__(self, address: str, name: str):
        """Makes the bucket."""
        self.name = name
        self.client = _client(address)
        self.client.create_bucket(Bucket=name)

    def __str__(self) -> str:
        """Its address."""
        return f"s3://{self.name}"

    def put(self, key: str, content: bytes = b"") -> None:
        """Writes an object."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        """Reads an object."""
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def listed(self, prefix: str = "") -> list[str]:
        """Lists all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def remove(self, *keys: str) -> None:
        """Removes objects."""
        for key in keys:
            self.client.delete_object(Bucket=self.name, Key=key)

    def upload(self, folder: os.PathLike[str], prefix: str) -> None:
        """Writes an object for each file of a folder."""
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request: its method, the bucket and the key in its path, and the rest of its address."""

    method: str
    path: str
    query: str

    @property
    def is_listing(self) -> bool:
        """Whether it asks for names."""
        return "list-type=2" in self.query


# What becomes of a request: its answer, with a status and a body; or None, if it goes on.
Rule = Callable[[Asked], tuple[int, bytes] | None]
# The status of an answer that breaks off in its middle.
CUT = 0


class Faults:
    """A server that hands requests on to another, except for those that a rule answers."""

    def __init__(self, address: str):
        """Names the other server."""
        self.behind = urllib.parse.urlsplit(address).netloc
        self.address = ""
        self.asked: list[Asked] = []
        self.rule: Rule = lambda asked: None

    def refuse(self, method: str, ending: str, status: int, code: str, times: int = 10**6) -> None:
        """Answers requests for a key with an error, as often as asked."""
        left = [times]

        def rule(asked: Asked) -> tuple[int, bytes] | None:
            if asked.method != method or not asked.path.endswith(ending) or not left[0]:
                return None
            left[0] -= 1
            body = f"<Error><Code>{code}</Code><Message>m</Message></Error>"
            return status, b"" if method == "HEAD" else body.encode()

        self.rule = rule


@contextlib.contextmanager
def faulty(address: str) -> Iterator[Faults]:
    """Starts a way to a server."""
    way = Faults(address)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            split = urllib.parse.urlsplit(self.path)
            asked = Asked(self.command, urllib.parse.unquote(split.path), split.query)
            way.asked.append(asked)
            body = self._body()
            ruled = way.rule(asked)
            if ruled is not None and ruled[0] != CUT:
                self.send_response(ruled[0])
                self.send_header("Content-Length", str(len(ruled[1])))
                self.end_headers()
                self.wfile.write(ruled[1])
                return
            connection = http.client.HTTPConnection(way.behind)
            with contextlib.closing(connection):
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") or str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            if ruled is None:
                self.wfile.write(content)
            else:
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer

        def _body(self) -> bytes:
            if self.headers.get("Expect") == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def log_message(self, *_: object) -> None:
            """Writes no log."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    way.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield way
    finally:
        server.shutdown()
        server.server_close()
