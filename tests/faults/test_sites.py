"""Every write site of the shipped code is swept, or has a reason why not; one fault per command.

The whole matrix is in `test_matrix.py`. `python -m tests.faults.sweep` prints it.
"""

import ast
import json
import re
import subprocess
import sys

import pytest

from tests.faults import sites
from tests.faults.injection import PROJECT
from tests.faults.reasons import BY_SITE, REASONS

TESTS = PROJECT / "tests"
PAGE = PROJECT / "docs" / "promises.md"
STANDING_IN = sorted({test for reason in REASONS for test in reason.tests})


@pytest.fixture(scope="module")
def swept():
    """What each scenario did, with one fault each."""
    command = [sys.executable, "-m", "tests.faults.sweep", "--faults", "one", "--json"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def seen(swept):
    """The sites that the scenarios reach."""
    return {site for scenario in swept.values() for site in scenario["sites"]}


def test_every_write_site_is_swept_or_has_a_reason(seen):
    new = {site.key for site in sites.find()} - seen - set(BY_SITE)
    assert not new, (
        f"{sorted(new)} write to the disk, and no test lets that fail. Reach them in a scenario of "
        "tests/faults/scenarios.py, or say in tests/faults/reasons.py which test stands in."
    )


def test_no_reason_outlives_its_site():
    known = {site.key for site in sites.find()}
    assert set(BY_SITE) <= known


def test_no_site_with_a_reason_is_swept_all_the_same(seen):
    """A site that only a fault leads to may be seen by chance, in the one fault that was tried."""
    elsewhere = {site for site, reason in BY_SITE.items() if not reason.scenarios}
    assert not elsewhere & seen


def test_no_site_has_two_reasons():
    assert len(BY_SITE) == sum(len(reason.sites) for reason in REASONS)


@pytest.mark.parametrize("name", STANDING_IN)
def test_a_test_that_stands_in_exists(name):
    path, _, function = name.partition("::")
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    assert function in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_each_command_survives_a_fault(swept):
    assert [finding for scenario in swept.values() for finding in scenario["findings"]] == []
    assert all(scenario["faults"] == 1 for scenario in swept.values())


def test_the_page_has_the_figures(swept, seen):
    """Sites are counted to one; operations and faults may differ a little between systems."""
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    figures = re.search(
        r"\*\*(\d+) write sites\*\*, (\d+) of them in (\d+) scenarios of commands and a training.*"
        r"The other (\d+) sites.*Of (\d+) of them",
        text,
        re.DOTALL,
    )
    assert figures, f"{PAGE} does not say how many write sites there are"
    found = {site.key for site in sites.find()}
    elsewhere = {site for site, reason in BY_SITE.items() if not reason.scenarios}
    assert tuple(map(int, figures.groups())) == (
        len(found),
        len(found - elsewhere),
        len(swept),
        len(elsewhere),
        sum("No test lets it fail" in BY_SITE[site].text for site in elsewhere),
    )
    rounded = re.search(r"more than ([\d,]+) operations and ([\d,]+) faults", text)
    assert rounded, f"{PAGE} does not say how many faults there are"
    operations, faults = (int(number.replace(",", "")) for number in rounded.groups())
    assert 0.9 < operations / sum(scenario["operations"] for scenario in swept.values()) <= 1
    assert 0.9 < faults / sum(scenario["matrix"] for scenario in swept.values()) <= 1


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "path.open('ab', buffering=0)",
        "open(path, mode='x')",
        "open(path, mode)",
        "os.open(path, os.O_RDWR | os.O_CREAT)",
        "path.write_text(text)",
        "write_whole(path, text)",
        "partial.replace(path)",
        "os.replace(one, other)",
        "shutil.copyfile(one, other)",
        "tempfile.mkdtemp()",
        "fileio.makedirs(folder)",
        "sqlite3.connect(path)",
        "model.save(path)",
        "model.save(filepath=path)",
        "open(path, mode=m)",
        "os.open(path, flags)",
        "path.replace(target=other)",
        "tf.io.gfile.copy(one, other)",
        "zipfile.ZipFile(path, 'w')",
        "pq.write_table(table, path)",
        "logging.FileHandler(path)",
    ],
)
def test_what_writes_is_found(line):
    (site,) = sites.sites_in(PROJECT / "cli" / "made_up.py", f"def f():\n    {line}\n")
    assert site.key.startswith("cli/made_up.py::f: ")
    assert site.covers("cli/made_up.py:2")
    assert not site.covers("cli/made_up.py:1")


@pytest.mark.parametrize(
    "text",
    [
        "from os import remove as gone\ngone(path)",
        "class Log(logging.FileHandler):\n    pass\nLog(path)",
    ],
)
def test_what_writes_by_another_name_is_found(text):
    (site,) = sites.sites_in(PROJECT / "cli" / "made_up.py", text)
    assert site.key.startswith("cli/made_up.py::module: ")


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "path.open('rb')",
        "os.open(path, os.O_RDONLY)",
        "text.replace('a', 'b')",
        "dataclasses.replace(it, one=1)",
        "moment.replace(tzinfo=None)",
        "names.remove(name)",
        "settings.copy()",
        "zipfile.ZipFile(path)",
    ],
)
def test_what_does_not_write_is_not_found(line):
    assert list(sites.sites_in(PROJECT / "cli" / "made_up.py", f"{line}\n")) == []
