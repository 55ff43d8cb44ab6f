"""The read sites of the shipped code: functions that read or parse files, sockets or pipes.

They are found by name in the syntax tree. Each is reached by a reader of `readers.py`, or has an
entry in `reasons.py`.
"""

from __future__ import annotations

import ast
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from tests import syntax
from tests.faults.injection import PROJECT, SHIPPED

# Of these methods, those of any object.
_ALWAYS = frozenset(
    {
        *("read_text", "read_bytes", "fromfile", "memmap", "loadtxt", "genfromtxt"),
        *("recv", "recv_into", "recvfrom", "recvmsg", "makefile"),
        *("model_validate_json", "validate_json", "urlopen", "getresponse", "HTTPConnection"),
        *("ParseFromString", "FromString", "MergeFromString", "tf_record_iterator"),
        *("ParquetFile", "read_table", "read_csv", "open_csv", "DictReader", "open_file"),
        *("GzipFile", "ZipFile", "decompress", "decompressobj", "load_model", "load_weights"),
        *("safe_load", "Unpickler"),
        *("read_file", "GFile", "TFRecordDataset", "TextLineDataset", "FixedLengthRecordDataset"),
        *("read_string_file", "read_bytes_file", "parse_pbtxt_file", "parse_json_file"),
        *("load_statistics", "load_stats_binary", "load_stats_text", "load_schema_text"),
        *("load_anomalies_text", "load_anomalies_binary", "load_eval_result", "load_eval_results"),
        *("load_metrics", "load_plots", "load_attributions", "load_validation_result"),
    }
)
# Of these modules, these functions: others have methods of the same names.
_OF_MODULES = {
    **{module: {"load", "loads"} for module in ("json", "json_utils", "tomllib", "pickle", "yaml")},
    **{module: {"Parse", "ParseDict", "Merge"} for module in ("text_format", "json_format")},
    **{module: {"parse", "fromstring"} for module in ("ElementTree", "minidom")},
    "np": {"load"},
    "saved_model": {"load"},
    "Image": {"open"},
    "csv": {"reader"},
    "gzip": {"open"},
    "tarfile": {"open"},
    "sqlite3": {"connect"},
    "stdin": {"read", "readline"},
    "os": {"read"},
    "pq": {"read_schema", "read_metadata"},
}
_WRITING = frozenset("wax+")
# They open a window, a descriptor, or nothing that has content.
_NO_FILE = frozenset({"webbrowser", "os"})


@functools.cache
def find() -> frozenset[str]:
    """All functions of the shipped code that read, as `path::Class.function`."""
    return frozenset(site for path in _modules() for site in sites_in(path, path.read_text()))


def _modules() -> Iterator[Path]:
    for name in SHIPPED:
        place = PROJECT / name
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def sites_in(path: Path, text: str) -> set[str]:
    """The functions of a module that read."""
    relative = path.relative_to(PROJECT)
    return {f"{relative}::{name}" for name, call in syntax.calls(ast.parse(text)) if _reads(call)}


def _reads(call: ast.Call) -> bool:
    # A function that is handed over, such as a parser to what reads the file.
    handed_over = [argument for argument in call.args if isinstance(argument, ast.Attribute)]
    return _is_reader(call.func) or _opens_to_read(call) or any(map(_is_reader, handed_over))


def _is_reader(called: ast.expr) -> bool:
    owner, name = _owner_and_name(called)
    return name in _ALWAYS or name in _OF_MODULES.get(owner, ())


def _owner_and_name(called: ast.expr) -> tuple[str, str]:
    if isinstance(called, ast.Attribute):
        # As `saved_model` of tf.saved_model.load, and `stdin` of sys.stdin.read.
        owner = called.value
        last = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        return last, called.attr
    return "", getattr(called, "id", "")


def _opens_to_read(call: ast.Call) -> bool:
    owner, name = _owner_and_name(call.func)
    if name not in ("open", "fdopen") or owner in _NO_FILE:
        return False
    named = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    texts = [a.value for a in [*named, *call.args[:2]] if isinstance(a, ast.Constant)]
    modes = [text for text in texts if isinstance(text, str) and set(text) <= set("rwaxbt+")]
    return not any(_WRITING & set(mode) for mode in modes)


def reached_by(call: Callable[[], object]) -> set[str]:
    """The read sites that a call reaches, in whatever thread of this process."""
    reached: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(f"{PROJECT}/"):
            names = frame.f_code.co_qualname.split(".")
            inner = [name for name in names if not name.startswith("<")]
            reached.add(f"{path.removeprefix(f'{PROJECT}/')}::{'.'.join(inner) or 'module'}")

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return reached & find()
