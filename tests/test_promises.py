"""docs/promises.md: each test that it names exists, and its mark says in which suite it runs."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PROMISES = TESTS.parent / "docs" / "promises.md"
NAMED = re.findall(
    r"`([a-z_/]+\.py)::(test_\w+)`( \(.*?\*full\*\))?", PROMISES.read_text(encoding="utf-8")
)


def is_slow(tree, function):
    """Whether the whole module or the function is marked; a mark on some cases is neither."""
    marks = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    return any("mark.slow" in ast.unparse(mark) for mark in marks) or any(
        ast.unparse(decorator) == "pytest.mark.slow" for decorator in function.decorator_list
    )


def test_promises_name_tests():
    assert len(NAMED) > 30


@pytest.mark.parametrize(
    ("path", "name", "mark"), NAMED, ids=[f"{path}::{name}" for path, name, _ in NAMED]
)
def test_a_test_that_holds_a_promise_exists(path, name, mark):
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
    assert found, f"{path} has no {name}"
    if "combinations" not in mark:
        assert is_slow(tree, found[0]) == bool(mark), f"{name} is marked otherwise in {PROMISES}"
