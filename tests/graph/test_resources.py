"""Whole runs on the sample where something is scarce: descriptors, memory, room, rights, cores.

Each run ends with a pushed model, or with one clear message and its exit code. What was served
before is whole in any case, and the next run on the same machine goes well.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.graph import aftermath, tracing
from tests.skipping import skip_loudly

PROJECT = Path(__file__).resolve().parents[2]
RUNNER = PROJECT / "pipeline_runner.py"
PIPELINE = "fashion-mnist-sample-smoke"
GIBIBYTE = 2**30
# In a table of mounts of its own, which is gone with the command.
APART = ("unshare", "--mount", "--propagation", "private", "bash", "-euc")
TEMPORARY, CGROUPS = Path("/tmp"), Path("/sys/fs/cgroup")
SYNC_DELAY = "50ms"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Machine:
    """Words that go before a command, by what the machine lacks."""

    def __init__(self, request, base):
        self._request = request
        self._base = base
        self._log = base / "slow-disk.log"
        self._ends = contextlib.ExitStack()

    def skip(self, missing, *tools):
        skip_loudly(f"{missing}: {self._request.node.name} WAS NOT TRIED.", *tools)

    def close(self):
        self._ends.close()

    def descriptors(self):
        """64 open files."""
        return ["bash", "-c", 'ulimit -n 64 && exec "$@"', "bash"]

    def core(self):
        """One of the cores."""
        if not shutil.which("taskset"):
            self.skip("No taskset")
        return ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]

    def memory(self):
        """2 GiB for all processes together."""
        group = self._memory_group()
        if group is None:
            self.skip("No right to make a control group for memory")
        return ["bash", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group)]

    def memory_of_each(self):
        """2 GiB for each process."""
        return ["bash", "-c", f'ulimit -d {2 * GIBIBYTE // 1024} && exec "$@"', "bash"]

    def addresses(self):
        """Too few for what draws the charts."""
        return ["bash", "-c", 'ulimit -v 40000000 && exec "$@"', "bash"]

    def disk(self):
        """Each fsync takes long."""
        if not tracing.is_possible():
            self.skip("No strace, or no right to trace", "strace")
        calls = "fsync,fdatasync"
        words = ["strace", "--follow-forks", "--seccomp-bpf", f"--output={self._log}"]
        self._ends.callback(self._check_delayed)
        return [*words, f"--trace={calls}", f"--inject={calls}:delay_exit={SYNC_DELAY}"]

    def _check_delayed(self):
        assert "(DELAYED)" in self._log.read_text(errors="replace")

    def temporary(self):
        """A /tmp that is full, also for root; what the tests themselves have there stays."""
        script = self._with_places(
            f"mount -t tmpfs -o size=64k tmpfs {TEMPORARY}",
            [place for place in self._places() if place.is_relative_to(TEMPORARY)],
        )
        full = f"if head -c 1M /dev/zero 2>/dev/null >{TEMPORARY}/full; then exit 99; fi"
        return self._apart(f"{script}\n{full}")

    def checkout(self):
        """No right to write in the checkout, for nobody."""
        place = shlex.quote(str(PROJECT))
        return self._apart(
            f"mount --bind {place} {place}\nmount -o remount,bind,ro {place}\n"
            f"if touch {place}/written 2>/dev/null; then exit 99; fi"
        )

    def shared_memory(self):
        """No /dev/shm at all."""
        devices = "null zero full random urandom tty"
        return self._apart(
            f"spare={self._spare}\n"
            "mount -t tmpfs tmpfs $spare\n"
            f"for name in {devices}; do\n"
            "  touch $spare/$name; mount --bind /dev/$name $spare/$name\n"
            "done\n"
            "ln -s /proc/self/fd $spare/fd\n"
            "mount --rbind $spare /dev\n"
            "[[ ! -e /dev/shm ]]"
        )

    def _apart(self, script):
        if os.getuid() != 0 or not shutil.which("unshare"):
            self.skip("No root rights, or no unshare")
        mount = f"mount -t tmpfs tmpfs {self._spare}"
        if subprocess.run([*APART, mount], capture_output=True).returncode:
            self.skip("No right to mount")
        return [*APART, f'{script}\nexec "$@"', "bash"]

    def _places(self):
        """Folders that a run of the tests needs."""
        places = [self._base, PROJECT, Path(sys.prefix), Path(sys.prefix).resolve()]
        return list(dict.fromkeys(places))

    def _with_places(self, mount, places):
        """A script that mounts something over folders which are seen there all the same."""
        quoted = [shlex.quote(str(place)) for place in places]
        spare = self._spare
        lines = [f"mount -t tmpfs tmpfs {spare}"]
        for number, place in enumerate(quoted):
            lines += [f"mkdir {spare}/{number}", f"mount --bind {place} {spare}/{number}"]
        lines.append(mount)
        for number, place in enumerate(quoted):
            lines += [f"mkdir --parents {place}", f"mount --bind {spare}/{number} {place}"]
        return "\n".join(lines)

    @property
    def _spare(self):
        """A folder to mount something on: nothing that a run needs is in it."""
        return next(
            folder
            for folder in map(Path, ("/mnt", "/media", "/srv"))
            if folder.is_dir() and not any(p.is_relative_to(folder) for p in self._places())
        )

    def _memory_group(self):
        """A control group that is kept to 2 GiB; None where none can be made."""
        for base, limit in memory_groups():
            group = base / f"pytest-{os.getpid()}"
            try:
                group.mkdir()
            except OSError:
                continue
            self._ends.callback(remove_group, group)
            with contextlib.suppress(OSError):
                (group / limit).write_text(str(2 * GIBIBYTE))
                return group
        return None


def memory_groups():
    """Control groups below which one for memory may be made, and how its limit is called."""
    own = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for _, controllers, path in own:
        if "memory" in controllers.split(","):
            yield CGROUPS / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
        elif not controllers:
            yield CGROUPS / path.lstrip("/"), "memory.max"
            yield CGROUPS, "memory.max"


def remove_group(group):
    """The last of its processes may take its time to end."""
    until = time.monotonic() + 60
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            assert time.monotonic() < until, f"{group} cannot be removed"
            time.sleep(0.1)


@pytest.fixture
def machine(request, tmp_path_factory):
    made = Machine(request, tmp_path_factory.getbasetemp())
    yield made
    made.close()


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """Runs the command line behind other words."""

    def run(words, *arguments):
        return aftermath.run([*words, sys.executable, str(RUNNER), *map(str, arguments)])

    return run


@pytest.fixture(scope="module")
def undemanding_run(set_values):
    """Arguments of a run on the sample that pushes whatever it trained."""
    gates = set_values(gates__accuracy=0, gates__class_recall=0, gates__accuracy_drop=1)
    return ("run", "--data", "sample", "--profile", "smoke", *gates)


@pytest.fixture(scope="module")
def outputs(limited, undemanding_run, tmp_path_factory):
    """The folder of all these runs: each finds the model of the one before served."""
    folder = tmp_path_factory.mktemp("resources") / "outputs"
    first = limited([], *undemanding_run, "--output-dir", folder)
    assert first.code == 0, first.errors
    return folder


ADDRESSES = "40 GB of addresses"
# What is scarce, and the exit codes that a run may have then.
SCARCE = {
    "64 descriptors": (Machine.descriptors, (0, 1, 2)),
    # What takes more of it together is killed by the kernel.
    "2 GiB of memory": (Machine.memory, (0, 1, 2, -signal.SIGKILL)),
    "2 GiB of memory for each process": (Machine.memory_of_each, (0, 1, 2)),
    ADDRESSES: (Machine.addresses, (0,)),
    "a full /tmp": (Machine.temporary, (0,)),
    "a checkout that is read-only": (Machine.checkout, (0,)),
    "no /dev/shm": (Machine.shared_memory, (2,)),
    "one core": (Machine.core, (0,)),
    "a slow disk": (Machine.disk, (0,)),
}


@pytest.mark.parametrize("scarce", SCARCE)
def test_a_run_that_lacks_something_pushes_or_says_what(
    scarce, machine, limited, undemanding_run, outputs
):
    words, codes = SCARCE[scarce]
    root = outputs / PIPELINE
    before = aftermath.read(root)
    seed = ("--seed", 10 + list(SCARCE).index(scarce), "--output-dir", outputs)
    # Nothing from the cache: each node has to do with what there is.
    ended = limited(words(machine), *undemanding_run, *seed, "--no-cache")
    after = aftermath.check(before, ended, codes)
    if ended.code == 0:
        assert after.newest > before.newest
    assert (scarce == ADDRESSES) == ("lift the limit with: ulimit -v unlimited" in ended.errors)
    following = limited([], *undemanding_run, *seed)
    assert aftermath.check_next(root, following).newest > before.newest
