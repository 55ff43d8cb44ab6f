"""The calls in the syntax tree of a module, by the functions that make them."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def calls(node: ast.AST, within: tuple[str, ...] = ()) -> Iterator[tuple[str, ast.Call]]:
    """Yields each call below a node, and the dotted name of the function that makes it."""
    for child in ast.iter_child_nodes(node):
        inner = within
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            inner = (*within, child.name)
        if isinstance(child, ast.Call):
            yield ".".join(inner) or "module", child
        yield from calls(child, inner)
