"""Code fingerprints: one hash per node.

TFX's cache compares the inputs and parameters of a node, but not the code that it imports: after an
edit of the trainer, the cache would return the old model. So every node has a further parameter, a
hash of its source code, of the versions of all libraries, and of whatever else its results depend
on.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import pathlib
from typing import Any

from tfx.dsl.components.base import base_component

from components.features import CODE_FINGERPRINT
from pipeline.installation.packages import Packages

_ROOT = pathlib.Path(__file__).resolve().parent.parent


class Sources:
    """The sources of the nodes as they are now.

    Each file is read once, so that all nodes of a graph are marked by the same state of it.
    """

    def __init__(self, libraries: Packages) -> None:
        """Remembers the libraries of the environment that the nodes run in."""
        self._libraries = libraries
        self._files = functools.cache(_files)
        self._content = functools.cache(pathlib.Path.read_bytes)

    def mark(
        self,
        component: base_component.BaseComponent,
        modules: tuple[str, ...],
        further: dict[str, Any],
    ) -> None:
        """Adds a fingerprint to a component.

        TFX itself adds parameters to finished components in this way, for packaged user modules.

        Args:
          component: Component to change.
          modules: Dotted names of the modules that the node runs.
          further: Other values that the results of the node depend on.
        """
        component.spec.exec_properties[CODE_FINGERPRINT] = combined(
            self.fingerprint(modules), further
        )

    def fingerprint(self, modules: tuple[str, ...]) -> str:
        """Returns the SHA-256 of the libraries, and of `modules` with imports in `components`."""
        libraries = self._libraries
        # A lock file may name other versions for another Python.
        digest = hashlib.sha256(f"{libraries.python} {libraries.sha256}\0".encode())
        for path in sorted(self._closure(modules)):
            digest.update(f"{path.relative_to(_ROOT)}\0".encode())
            digest.update(self._content(path))
        return digest.hexdigest()

    def _closure(self, modules: tuple[str, ...]) -> set[pathlib.Path]:
        closure: set[pathlib.Path] = set()
        found, waiting = set(modules), list(modules)
        while waiting:
            for path in self._files(waiting.pop()) - closure:
                closure.add(path)
                names = _imported(self._content(path)) - found
                found |= names
                waiting += names
        return closure


def _files(module: str) -> frozenset[pathlib.Path]:
    """Returns the source files of a module, a package, or a name inside a module.

    They include the `__init__.py` of all enclosing packages, since an import runs them too.
    """
    path = _ROOT.joinpath(*module.split("."))
    packages = [path, *path.parents[: module.count(".")]]
    candidates = [path.with_suffix(".py"), *(package / "__init__.py" for package in packages)]
    return frozenset(candidate for candidate in candidates if candidate.is_file())


# Cached, since most nodes import the same files, and most graphs find them unedited.
@functools.cache
def _imported(source: bytes) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(name for name in names if name.split(".")[0] == "components")


def combined(*parts: object) -> str:
    """Returns a short hexadecimal hash of all parts."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
