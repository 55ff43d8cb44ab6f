"""The write sites of the shipped code: calls that make, change or remove a file or a folder.

They are found by name in the syntax tree. A call that only looks like one, or that no sweep can
reach, has an entry in `NOT_SWEPT`, with the reason and the test that stands in for the sweep.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests import syntax
from tests.faults.injection import PROJECT, SHIPPED

# Of these methods, those of any object.
_ALWAYS = frozenset(
    {
        *("write_text", "write_bytes", "write_whole", "write_bytes_file", "write_string_file"),
        *("mkdir", "makedirs", "unlink", "rmdir", "rmtree", "rename", "touch", "truncate"),
        *("symlink", "symlink_to", "hardlink_to", "copytree", "copyfile", "copyfileobj"),
        *("mkstemp", "mkdtemp", "TemporaryDirectory", "TemporaryFile", "NamedTemporaryFile"),
        *("pwrite", "fsync", "sync", "sync_tree", "chmod", "fchmod", "utime"),
        *("TFRecordWriter", "savez", "savez_compressed", "savefig", "to_csv", "to_parquet"),
        *("write_table", "ParquetWriter", "extractall", "save_weights", "memmap"),
        *("ftruncate", "posix_fallocate", "FileHandler", "TensorBoard", "write_out"),
    }
)
# Whoever makes one of a class that is derived from these writes as well.
_BASES = frozenset({"FileHandler", "TensorBoard", "FileIO", "ModelCheckpoint"})
# Of these, those of the modules alone: lists have `remove`, texts have `replace`.
_OF_MODULES = frozenset(
    {"remove", "link", "copy", "copy2", "move", "removedirs", "replace", "write"}
)
_MODULES = frozenset({"os", "shutil", "fileio", "gfile"})
_READING = frozenset({"r", "rb", "rt", ""})


@dataclasses.dataclass(frozen=True)
class Site:
    """A call that writes.

    Attributes:
      path: Module, below the project.
      name: Function that makes the call, and what it calls; with a number where that is not unique.
      first: First line of the call.
      last: Last line of the call.
    """

    path: str
    name: str
    first: int
    last: int

    @property
    def key(self) -> str:
        """Name that does not change with the lines above."""
        return f"{self.path}::{self.name}"

    def covers(self, line: str) -> bool:
        """Whether a line of code, as `path:line`, is part of the call."""
        path, _, number = line.rpartition(":")
        return path == self.path and self.first <= int(number) <= self.last


@functools.cache
def find() -> list[Site]:
    """All write sites of the shipped code, in the order of the files."""
    return [site for path in _modules() for site in sites_in(path, path.read_text("utf-8"))]


def _modules() -> Iterator[Path]:
    for name in SHIPPED:
        place = PROJECT / name
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def sites_in(path: Path, text: str) -> Iterator[Site]:
    """The write sites of a module."""
    known: Counter[str] = Counter()
    tree = ast.parse(text)
    derived = set(_derived(tree)) | set(_imported(tree))
    for function, call in syntax.calls(tree):
        if _writes(call) or getattr(call.func, "id", None) in derived:
            name = f"{function}: {ast.unparse(call.func)}"
            known[name] += 1
            number = f" #{known[name]}" if known[name] > 1 else ""
            last = call.end_lineno or call.lineno
            yield Site(str(path.relative_to(PROJECT)), name + number, call.lineno, last)


def _derived(tree: ast.Module) -> Iterator[str]:
    """Names of classes whose objects write."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
            if bases & _BASES:
                yield node.name


def _imported(tree: ast.Module) -> Iterator[str]:
    """Functions of modules that write, which are called by their bare names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in _MODULES:
            yield from (
                alias.asname or alias.name for alias in node.names if alias.name in _OF_MODULES
            )


def _writes(call: ast.Call) -> bool:
    called = call.func
    owner = called.value if isinstance(called, ast.Attribute) else None
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    # `tf.io.gfile.copy` is one of gfile.
    module = getattr(owner, "id", getattr(owner, "attr", None))
    if name in _ALWAYS:
        return True
    if module in _MODULES and name in _OF_MODULES:
        return True
    if (module, name) == ("sqlite3", "connect"):
        return True
    # str.replace takes two, dataclasses.replace and datetime.replace take names.
    if name == "replace":
        if any(keyword.arg == "target" for keyword in call.keywords):
            return True
        return module != "dataclasses" and len(call.args) == 1 and not call.keywords
    if name == "save":
        return bool(call.args or call.keywords)
    return name in ("open", "fdopen", "GFile", "ZipFile") and _opens_to_write(call, module)


def _opens_to_write(call: ast.Call, module: str | None) -> bool:
    if module == "os" and ast.unparse(call.func) == "os.open":
        flags = ast.unparse(call.args[1])
        return not any(reading in flags for reading in ("RDONLY", "O_PATH")) or "O_CREAT" in flags
    named = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    # Of a path the mode is the first argument, else it is the second.
    texts = [a for a in [*named, *call.args[:2]] if isinstance(a, ast.Constant)]
    modes = [str(text.value) for text in texts if set(str(text.value)) <= set("rwaxbt+")]
    if modes:
        return not any(mode in _READING for mode in modes)
    # A mode that is a variable may be anything.
    return bool(named) or (len(call.args) == 2 and module != "files")
