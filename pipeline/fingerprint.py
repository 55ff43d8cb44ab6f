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


def mark(
    component: base_component.BaseComponent,
    modules: tuple[str, ...],
    libraries: Packages,
    further: dict[str, Any],
) -> None:
    """Adds a fingerprint to a component.

    TFX itself adds parameters to finished components in this way, for packaged user modules.

    Args:
      component: Component to change.
      modules: Dotted names of the modules that the node runs.
      libraries: Libraries of the environment that the node runs in.
      further: Other values that the results of the node depend on.
    """
    component.spec.exec_properties[CODE_FINGERPRINT] = combined(
        fingerprint(modules, libraries), further
    )


def fingerprint(modules: tuple[str, ...], libraries: Packages) -> str:
    """Returns the SHA-256 of the libraries, and of `modules` with their imports in `components`."""
    # A lock file may name other versions for another Python.
    digest = hashlib.sha256(f"{libraries.python} {libraries.sha256}\0".encode())
    for path in sorted(_closure(modules)):
        digest.update(f"{path.relative_to(_ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _closure(modules: tuple[str, ...]) -> set[pathlib.Path]:
    closure: set[pathlib.Path] = set()
    waiting = [path for module in modules for path in _files(module)]
    while waiting:
        path = waiting.pop()
        if path not in closure:
            closure.add(path)
            names = _imported(path.read_text(encoding="utf-8"))
            waiting += [file for name in names for file in _files(name)]
    return closure


def _files(module: str) -> list[pathlib.Path]:
    """Returns the source files of a module, a package, or a name inside a module.

    They include the `__init__.py` of all enclosing packages, since an import runs them too.
    """
    path = _ROOT.joinpath(*module.split("."))
    packages = [path, *path.parents[: module.count(".")]]
    candidates = [path.with_suffix(".py"), *(package / "__init__.py" for package in packages)]
    return [candidate for candidate in candidates if candidate.is_file()]


# Cached, since most nodes import the same files.
@functools.cache
def _imported(source: str) -> frozenset[str]:
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
