"""A machine that has what the README names and nothing else, and the README's commands on it.

debootstrap makes a Debian in a folder, which takes root rights and a mirror. An ordinary user of it
has a clone of this checkout, caches that are empty, and no compiler. It is the release whose lock
this machine is too new or too old for, so that each of the two locks is installed somewhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.installation import packages
from tests.skipping import skip_loudly

PROJECT = Path(__file__).resolve().parents[1]
# Of the README, what a newcomer reads first.
START = (
    (PROJECT / "README.md").read_text("utf-8").partition("\n## Start\n")[2].partition("\n## ")[0]
)
# Benchmarks, and what makes faults and damaged files: nothing that a user of the machine runs. And,
# for the time it takes, much that uses none of what differs there: ML Metadata, TFDV and TFX.
LEFT_OUT = " ".join(
    f"--ignore=tests/{name}"
    for name in (
        "bad_input",
        "benchmarks",
        "components/blessing",
        "components/tuner",
        "faults",
        "fuzzing",
        "graph/test_what_runs_again.py",
        "operations/initialization",
        "operations/notifications",
        "operations/scheduling",
        "review",
        "supply_chain",
        "test_streams.py",
    )
)
RUN_SAMPLE = 'make run ARGS="--data sample"'
USER = "newcomer"
QUESTION = "import ensurepip, sys, venv; print(sys.base_prefix)"
UNTRIED = "PYTHON 3.12 WAS NOT TRIED."
NAME_SERVERS = Path("/etc/resolv.conf")

# As it is before the tests close off the world. Nor does a `make` around them hand down its own.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
# What a machine needs to be told in a network of its own; certificates are files, and copied.
CERTIFICATES = ("CURL_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
INDEXES = ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_TRUSTED_HOST", "UV_DEFAULT_INDEX")
PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy")
NETWORK = {
    name: ENVIRONMENT[name]
    for name in (*CERTIFICATES, *INDEXES, *PROXIES, *map(str.upper, PROXIES))
    if ENVIRONMENT.get(name)
}

# What is mounted is gone with the last process: the mounts are seen by these alone, and all of
# them end with the first.
APART = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
TOOLS = ("debootstrap", "unshare")
# The first process of a machine collects those that nobody waits for, so it is a shell that stays.
ENTER = """
set -e
root=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
if [[ $1 ]]; then
    # Into the home of root, too.
    chmod a+x "$root/root"
    mkdir --parents "$root$1"
    mount --rbind "$1" "$root$1"
fi
shift
chroot "$@"
exit
"""


@dataclass(frozen=True)
class Release:
    """A Debian: its name, the lock that fits it, and its Python."""

    name: str
    lock: packages.Lock
    python: str


BOOKWORM = Release("bookworm", packages.OLDER, "3.11")
TRIXIE = Release("trixie", packages.NEWER, "3.13")
IS_NEW = not packages.obstacles(packages.NEWER, packages.read_system(), TRIXIE.python)
RELEASE = BOOKWORM if IS_NEW else TRIXIE


@dataclass(frozen=True)
class Place:
    """Where commands run as a user types them.

    Attributes:
      project: the clone of this checkout.
      enter: words that go before a command.
    """

    project: Path
    enter: tuple[str, ...]

    def run(self, command: str) -> str:
        """Runs a command in the clone, which has to succeed; returns what it printed."""
        ended = run(*self.enter, command)
        assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}"
        return ended.stdout

    @property
    def python_of_receipt(self) -> str:
        """Minor version of the Python that its only run was made with."""
        (path,) = self.project.glob("outputs/*/runs/*/receipt.json")
        version = json.loads(path.read_text(encoding="utf-8"))["environment"]["versions"]["python"]
        return version.rpartition(".")[0]


@dataclass(frozen=True)
class Machine:
    """A Debian in the folder `root`."""

    root: Path

    def place(self, name: str, beside: Path | None = None) -> Place:
        """A clone of the checkout for its user.

        Args:
          name: of the clone's folder.
          beside: a folder of this machine that is there under the same path.
        """
        home = Path("/home", USER)
        clone = self.root / home.relative_to("/") / name
        clone_checkout(clone)
        chown = ("chown", "--recursive", f"{USER}:", str(home))
        run("chroot", str(self.root), *chown).check_returncode()
        settings = [f"HOME={home}", "LANG=C.UTF-8", "PATH=/usr/bin:/bin"]
        settings += [f"{name}={value}" for name, value in NETWORK.items()]
        apart = (*APART, "bash", "-c", ENTER, "bash", str(self.root), str(beside or ""))
        user = (f"--userspec={USER}:{USER}", str(self.root), "env", "-i", *settings)
        shell = ("bash", "-c", 'cd "$0" && eval "$1"', str(home / name))
        return Place(clone, (*apart, *user, *shell))


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Iterator[Machine]:
    """A fresh Debian; where none can be made, the tests are skipped and say so."""
    root = tmp_path_factory.mktemp("machine") / RELEASE.name
    try:
        lacking = [tool for tool in TOOLS if not shutil.which(tool)]
        if lacking:
            skip_loudly(f"No {', '.join(lacking)}: NO FRESH MACHINE WAS TRIED.", *lacking)
        missing = make_debian(root)
        if missing:
            skip_loudly(f"{missing}: NO FRESH MACHINE WAS TRIED.")
        yield Machine(root)
    finally:
        remove(root)


def test_the_readme_says_what_to_install_and_what_to_type():
    assert {"git", "make", "python3", "python3-venv"} <= set(packages_of_the_readme())
    assert re.search(r"^    make run\n    make test$", START, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_commands_of_the_readme_do_on_a_fresh_machine(machine):
    place = machine.place("project")
    place.run("! command -v gcc && ! command -v cc && ! command -v g++")
    place.run(RUN_SAMPLE)
    assert place.python_of_receipt == RELEASE.python
    locks = {path.name for path in place.project.glob(".venv/requirements/glibc-*")}
    assert locks == {RELEASE.lock.name}
    assert re.search(r"\d+ passed", place.run(f'make test ARGS="{LEFT_OUT}"'))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_sample_runs_on_python_3_12(request, tmp_path):
    """On this machine, or on the fresh one where this one is too old for the lock."""
    interpreter, folder = find_python_3_12() or skip_loudly(f"No Python 3.12: {UNTRIED}")
    if IS_NEW:
        place = Place(tmp_path / "project", ("env", "-C", str(tmp_path / "project"), "bash", "-c"))
        clone_checkout(place.project)
    else:
        place = request.getfixturevalue("machine").place("project-3.12", beside=folder)
    try:
        if run(*place.enter, f"{interpreter} -I -c '{QUESTION}'").returncode != 0:
            skip_loudly(f"{interpreter} does not start on {RELEASE.name}: {UNTRIED}")
        place.run(f"make setup PYTHON={interpreter}")
        place.run(RUN_SAMPLE)
        assert place.python_of_receipt == "3.12"
    finally:
        shutil.rmtree(place.project)


def packages_of_the_readme() -> list[str]:
    """What a newcomer with Debian is told to install."""
    return re.search(r"`sudo apt install ([^`]+)`", START).group(1).split()


def make_debian(root: Path) -> str | None:
    """Makes a Debian with a user; returns what it takes and this machine has not, in words."""
    if os.getuid() != 0:
        return "No root rights"
    include = f"--include={','.join(packages_of_the_readme())}"
    make = ("debootstrap", "--variant=minbase", include, RELEASE.name, str(root), *mirror())
    ended = run(*APART, *make)
    if ended.returncode != 0:
        last = ended.stdout.strip().rpartition("\n")[2]
        return f"debootstrap made no Debian ({last})"
    run("chroot", str(root), "useradd", "--create-home", USER).check_returncode()
    # As the installer of Debian does.
    (root / "etc" / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {socket.gethostname()}\n")
    for file in {NAME_SERVERS, *(Path(NETWORK[name]) for name in CERTIFICATES if name in NETWORK)}:
        copy = root / file.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return None


def mirror() -> list[str]:
    """The mirror of Debian that this machine is set up with; none where debootstrap has to know."""
    if not shutil.which("apt-get"):
        return []
    wanted = ("Origin: Debian", "Label: Debian", "--format", "$(SITE)")
    return run("apt-get", "indextargets", *wanted).stdout.split()[:1]


def clone_checkout(target: Path) -> None:
    """Clones the checkout, with what is not yet committed."""
    run("git", "clone", "--quiet", str(PROJECT), str(target)).check_returncode()
    changed = ("--modified", "--others", "--exclude-standard")
    listed = run("git", "-C", str(PROJECT), "ls-files", "-z", *changed).stdout
    for name in filter(None, listed.split("\0")):
        (target / name).unlink(missing_ok=True)
        if (PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target / name)


def find_python_3_12() -> tuple[Path, Path] | None:
    """A Python 3.12 that can make environments, and the folder that it is installed in."""
    pyenv = Path(ENVIRONMENT.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [*pyenv.glob("versions/3.12.*/bin/python3.12"), shutil.which("python3.12")]
    for candidate in filter(None, candidates):
        ended = run(str(candidate), "-I", "-c", QUESTION)
        if ended.returncode == 0:
            return Path(candidate), Path(ended.stdout.strip())
    return None


def remove(root: Path) -> None:
    """Removes a machine, unless something is still mounted in it."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    mounted = [
        place for place in (line.split()[4] for line in table) if root in Path(place).parents
    ]
    assert not mounted, f"still mounted: {', '.join(mounted)}"
    if root.exists():
        shutil.rmtree(root)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; both of its streams are in `stdout`."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, **streams, text=True, env=ENVIRONMENT)
