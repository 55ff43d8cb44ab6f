"""A hash per node of the code that it runs.

TFX's cache sees inputs and parameters, but no code that is imported: an edited trainer would be
served the old model. The hash of a node's own sources, of the versions of all libraries,
and of whatever else its results depend on is therefore one of its parameters.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import pathlib
from typing import Any

from tfx.dsl.components.base import base_component

from pipeline.installation.packages import Packages
from pipeline.nodes import CODE_FINGERPRINT

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def mark(
    component: base_component.BaseComponent,
    modules: tuple[str, ...],
    libraries: Packages,
    further: dict[str, Any],
) -> None:
    """Adds the fingerprint of `modules`, of all they import, and `further` to a component.

    TFX itself adds parameters to finished components in this way, for packaged user modules.
    """
    component.spec.exec_properties[CODE_FINGERPRINT] = combined(
        fingerprint(modules, libraries), further
    )


def fingerprint(modules: tuple[str, ...], libraries: Packages) -> str:
    """SHA-256 over the sources of `modules`, of all of `components` they import, and libraries."""
    # One lock installs other versions for another Python.
    digest = hashlib.sha256(f"{libraries.python} {libraries.sha256}\0".encode())
    for path in sorted(_closure(modules)):
        digest.update(f"{path.relative_to(_ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _closure(modules: tuple[str, ...]) -> set[pathlib.Path]:
    found: set[pathlib.Path] = set()
    waiting = [path for module in modules for path in _files(module)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            names = _imported(path.read_text(encoding="utf-8"))
            waiting += [file for name in names for file in _files(name)]
    return found


def _files(module: str) -> list[pathlib.Path]:
    """The source files of a dotted name: a module, a package, or a name inside a module.

    With those of all packages that it is in, which Python runs first.
    """
    path = _ROOT.joinpath(*module.split("."))
    packages = [path, *path.parents[: module.count(".")]]
    candidates = [path.with_suffix(".py"), *(package / "__init__.py" for package in packages)]
    return [candidate for candidate in candidates if candidate.is_file()]


# Most files are met again in the next node.
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
    """A short name, hexadecimal, for everything in `parts` together."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
