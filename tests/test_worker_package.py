"""The worker package: what is in it, what it demands, and that it works with no checkout."""

import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from pipeline.installation.packages import LOCKS

PROJECT = Path(__file__).resolve().parents[1]
NOT_SOURCE = (".*", "outputs", "build", "dist", "*.egg-info", "__pycache__")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: a build leaves folders behind in its source tree."""
    folder = tmp_path_factory.mktemp("worker_package")
    source = folder / "source"
    shutil.copytree(PROJECT, source, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True)
    (built,) = folder.glob("image_pipeline_components-*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def demands(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (file,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(file).decode())


def packages_on_disk():
    tops = ("components", "pipeline", "review", "schema")
    files = [file for top in tops for file in PROJECT.glob(f"{top}/**/__init__.py")]
    return {file.parent.relative_to(PROJECT).as_posix() for file in files}


def test_it_demands_nothing_but_its_python(demands):
    assert demands.get_all("Requires-Dist") is None
    pythons = [f"3.{minor}.{patch}" for minor in range(30) for patch in (0, 9)]
    fitting = SpecifierSet(demands["Requires-Python"]).filter(pythons)
    minors = {python.rpartition(".")[0] for python in fitting}
    assert minors == {python for lock in LOCKS for python in lock.pythons}


def test_its_version_is_that_of_the_command_line(demands, command):
    assert demands["Version"] == command("--version").output.strip()


def test_it_holds_every_package_a_node_may_import_and_no_other(names):
    packaged = {name.removesuffix("/__init__.py") for name in names if "/__init__.py" in name}
    assert packaged == packages_on_disk()


def test_it_holds_every_module_of_those_packages(names):
    modules = {name for name in names if name.endswith(".py")}
    on_disk = {
        file.relative_to(PROJECT).as_posix()
        for package in packages_on_disk()
        for file in (PROJECT / package).glob("*.py")
    }
    assert modules == on_disk


def test_it_holds_nothing_else(names):
    tops = {name.split("/")[0] for name in names}
    tops = {
        top for top in tops if not re.fullmatch(r"image_pipeline_components-.*\.dist-info", top)
    }
    assert tops == {"components", "pipeline", "review", "schema"}


def test_it_holds_the_curated_schema(names):
    assert "schema/schema.pbtxt" in names


def test_it_holds_the_templates_of_the_page(names):
    templates = {
        file.relative_to(PROJECT).as_posix()
        for file in (PROJECT / "review" / "templates").rglob("*")
        if file.is_file()
    }
    assert templates and templates <= set(names)


def test_it_imports_where_there_is_no_checkout(wheel, tmp_path):
    """-I and -S leave out the working directory and what is installed: the wheel is on its own."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from importlib.resources import files\n"
        "import components.features, schema\n"
        "contract = files(schema).joinpath('schema.pbtxt').read_text()\n"
        "print(components.features.__file__, len(contract))"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    process = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    origin, length = process.stdout.split()
    assert Path(origin) == tmp_path / "components" / "features.py"
    assert int(length) > 0
