"""`make audit` fails for a finding, and says loudly where nobody could be asked.

A stand-in for pip-audit ends as the real one does: with the same exit code for a finding and for a
service that does not answer.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from pipeline.installation import packages

pytestmark = pytest.mark.slow

STAND_IN = """
import os, sys

def main():
    assert {"--strict", "--require-hashes", "--disable-pip"} <= set(sys.argv)
    how = os.environ["AUDIT"]
    if how == "found":
        print("jinja2 3.1.2 PYSEC-1")
        sys.exit("Found 1 known vulnerability in 1 package")
    if how == "unreachable":
        raise OSError("name resolution failed")
    if how == "broken":
        sys.exit("pip-audit: error: unrecognized arguments: --strict")
    print("No known vulnerabilities found", file=sys.stderr)
"""
UNAUDITED = "NO VULNERABILITY OF"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that is set up, with a stand-in for pip-audit in a folder of wheels."""
    project = tmp_path_factory.mktemp("audited")
    shutil.copy(packages.PROJECT / "Makefile", project)
    installation = project / "pipeline" / "installation"
    installation.mkdir(parents=True)
    (installation / "__main__.py").touch()
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (project / "requirements").mkdir()
    (project / "requirements" / "audit.txt").write_text(write_wheel(project / "wheels"))
    for lock in packages.LOCKS:
        (project / "requirements" / lock.name).touch()
    return project


def write_wheel(folder):
    """Writes the wheel of the stand-in; returns its line for a lock file."""
    folder.mkdir()
    about = "pip_audit-1.0.dist-info"
    files = {
        "stand_in.py": STAND_IN,
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: pip-audit\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\npip-audit = stand_in:main\n",
    }
    record = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,"])
    wheel = folder / "pip_audit-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return f"pip-audit==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def audit(project):
    """Runs `make audit`, with the stand-in ending in this way."""

    def run(how, wheels="wheels"):
        theirs = ("PIP_", "UV_", "MAKE")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(theirs)}
        found = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project / wheels), "AUDIT": how}
        return subprocess.run(
            ["make", "audit"],
            cwd=project,
            env={**kept, **found, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
        )

    return run


def test_without_a_finding_it_succeeds(audit):
    ended = audit("clean")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("No known vulnerability.") == len(packages.LOCKS)
    assert UNAUDITED not in ended.stderr


def test_a_finding_fails_and_is_told(audit):
    ended = audit("found")
    assert ended.returncode != 0
    assert ended.stdout.count("PYSEC-1") == len(packages.LOCKS)
    assert UNAUDITED not in ended.stderr


def test_a_failure_that_is_none_of_the_network_fails(audit):
    ended = audit("broken")
    assert ended.returncode != 0
    assert "failed: pip-audit: error: unrecognized arguments: --strict; expected" in ended.stderr
    assert UNAUDITED not in ended.stderr


def test_a_wheel_that_was_changed_on_its_way_fails(audit, project):
    (wheel,) = (project / "wheels").iterdir()
    changed = project / "changed" / wheel.name
    changed.parent.mkdir()
    shutil.copy(wheel, changed)
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr("more.py", "print('I am not of pip-audit')")
    ended = audit("clean", "changed")
    assert ended.returncode != 0
    assert "the audit of ANY PACKAGE failed" in ended.stderr
    assert UNAUDITED not in ended.stderr


@pytest.mark.parametrize(("how", "wheels"), [("unreachable", "wheels"), ("clean", "nothing")])
def test_where_nobody_can_be_asked_it_says_so_loudly(audit, how, wheels):
    ended = audit(how, wheels)
    assert ended.returncode == 0, ended.stderr
    assert UNAUDITED in ended.stderr
    assert "expected a network that reaches the advisories" in ended.stderr
    assert "No known vulnerability." not in ended.stdout
