"""Packs long parameters of nodes for a cluster.

Kubeflow Pipelines hands a node all its parameters in one command-line argument, and hands the
driver of the graph those of all nodes in one. Linux starts no program with an argument of 128 KiB
or more. Without packing, the gates of 200 classes are longer than that.
"""

from __future__ import annotations

import base64
import zlib


def pack(text: str) -> str:
    """Returns the text, compressed, in the letters of base64."""
    return base64.b64encode(zlib.compress(text.encode(), level=9)).decode("ascii")


def unpack(text: str) -> str:
    """Returns the text that `pack` compressed."""
    return zlib.decompress(base64.b64decode(text)).decode()
