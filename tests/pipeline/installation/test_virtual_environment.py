"""`make setup`: what it leaves behind when all goes well, when something fails, when it is killed.

In a project whose lock names one small package, with a uv that does what a test tells it.
"""

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from pipeline.installation import packages, virtual_environment

PROJECT = Path(__file__).resolve().parents[3]
LOCKS = [lock.name for lock in packages.LOCKS]
PATIENCE_SECONDS = 60
# What is read where nothing is installed yet.

# uv itself installs where `FAKE_UV` does not ask for a failure. On `wait`, a file tells that it is
# at work, and it goes on once that is gone.
FAKE_UV = """
import os, pathlib, sys, time
how = os.environ["FAKE_UV"]
at_work = pathlib.Path("at-work")
if how == "wait":
    at_work.touch()
    while at_work.exists():
        time.sleep(0.02)
elif how != "install":
    sys.exit(how)
os.execv(os.environ["REAL_UV"], ["uv", *sys.argv[1:]])
"""
NO_NETWORK = "error: Failed to fetch: `https://example.org/`\n  Caused by: dns error"
FULL_DISK = "error: failed to write `/cache/x`\n  Caused by: No space left on device (os error 28)"


@pytest.fixture(scope="session")
def small_project(tmp_path_factory):
    """A project with a lock, a Makefile and nothing installed yet."""
    project = tmp_path_factory.mktemp("small") / "project"
    modules = [PROJECT / "pipeline" / f"{name}.py" for name in ("__init__", "streams")]
    for path in [*modules, *(PROJECT / "pipeline" / "installation").glob("*.py")]:
        copy = project / path.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copy(PROJECT / "Makefile", project)
    (project / "wheels").mkdir()
    uv = write_wheel(project, "uv", "1.0", {"uv/__init__.py": "", "uv/__main__.py": FAKE_UV})
    library = write_wheel(project, "ml_metadata", "1.0", {"ml_metadata/__init__.py": "IS = 1\n"})
    tests = write_wheel(project, "tried", "1.0", {"tried.py": ""})
    write_lock(project, "installer.txt", uv)
    write_lock(project, "test.txt", tests)
    for name in LOCKS:
        write_lock(project, name, library)
    return project


@pytest.fixture(scope="session")
def finished_project(small_project, tmp_path_factory):
    """The same, set up."""
    project = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(small_project, project, symlinks=True)
    assert make(project).returncode == 0
    return project


@pytest.fixture
def bare(small_project, tmp_path):
    """A project of the test's own with nothing installed yet."""
    return Path(shutil.copytree(small_project, tmp_path / "project", symlinks=True))


@pytest.fixture
def ready(finished_project, tmp_path):
    """A project of the test's own that is set up."""
    return Path(shutil.copytree(finished_project, tmp_path / "project", symlinks=True))


def write_wheel(project, name, version, files):
    """Writes a wheel of pure Python; returns its line of a lock."""
    information = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    lines = [f"{path},sha256={short_digest(text)},{len(text)}" for path, text in contents.items()]
    contents[f"{information}/RECORD"] = "\n".join([*lines, f"{information}/RECORD,,"])
    wheel = project / "wheels" / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n"


def short_digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def write_lock(project, name, line):
    (project / "requirements").mkdir(exist_ok=True)
    (project / "requirements" / name).write_text(line)


def settings(project, how="install", **further):
    """The environment variables of a `make setup`: no network, the wheels of the project."""
    theirs = ("PIP_", "UV_", "MAKE")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(theirs)},
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(project / "wheels"),
        "PYTHON": sys.executable,
        "UV_CACHE_DIR": str(project / "cache"),
        "FAKE_UV": how,
        "REAL_UV": str(Path(sys.executable).with_name("uv")),
        **further,
    }


def make(project, target="setup", how="install", **further):
    return subprocess.run(
        ["make", target],
        cwd=project,
        env=settings(project, how, **further),
        capture_output=True,
        text=True,
        timeout=300,
    )


def start(project, how="install"):
    """Starts `make setup` in a process group of its own."""
    with (project / "said").open("a") as said:
        return subprocess.Popen(
            ["make", "setup"],
            cwd=project,
            env=settings(project, how),
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def wait_for(condition):
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "what was waited for did not come"
        time.sleep(0.02)


def said(project):
    return (project / "said").read_text()


def is_ready(project):
    """Whether the environment works, holds its record and no mark of an installation at work."""
    works = subprocess.run([project / ".venv/bin/python", "-c", "import ml_metadata"]).returncode
    record = packages.installed_lock(project / ".venv")
    return works == 0 and record is not None and not (project / ".venv" / "unfinished").exists()


@pytest.mark.slow
def test_it_is_done_once(bare):
    assert make(bare).returncode == 0
    assert is_ready(bare)
    record = packages.installed_lock(bare / ".venv")
    assert record.read_bytes() == (bare / "requirements" / record.name).read_bytes()
    before = (bare / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    again = make(bare)
    assert again.returncode == 0
    assert again.stdout == "The environment in .venv is ready.\n"
    assert (bare / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == before


@pytest.mark.slow
def test_of_two_at_once_the_second_waits_and_both_succeed(bare):
    first = start(bare, "wait")
    wait_for((bare / "at-work").exists)
    second = start(bare)
    wait_for(lambda: "Another installation is at work in this folder: waiting" in said(bare))
    (bare / "at-work").unlink()
    assert (first.wait(PATIENCE_SECONDS), second.wait(PATIENCE_SECONDS)) == (0, 0)
    assert said(bare).count("Making .venv") == 1
    assert is_ready(bare)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_after_one_that_was_killed_the_next_starts_afresh(bare, number, listening_to_signals):
    killed = start(bare, "wait")
    wait_for((bare / "at-work").exists)
    os.killpg(killed.pid, number)
    assert killed.wait(PATIENCE_SECONDS) != 0
    again = make(bare)
    assert again.returncode == 0, again.stderr
    assert "The last installation did not end: starting afresh." in again.stdout
    assert is_ready(bare)


@pytest.mark.slow
def test_an_interruption_is_told_without_a_traceback(bare, listening_to_signals):
    interrupted = start(bare, "wait")
    wait_for((bare / "at-work").exists)
    os.killpg(interrupted.pid, signal.SIGINT)
    interrupted.wait(PATIENCE_SECONDS)
    wait_for(lambda: "make: interrupted." in said(bare))
    assert "Traceback" not in said(bare)


@pytest.mark.slow
def test_what_a_killed_one_left_at_work_is_waited_for(bare):
    """Nobody empties the folder that uv still writes to."""
    killed = start(bare, "wait")
    wait_for((bare / "at-work").exists)
    for process in children(killed.pid):
        os.kill(process, signal.SIGKILL)
    killed.wait(PATIENCE_SECONDS)
    following = start(bare)
    wait_for(lambda: "waiting for its end" in said(bare))
    assert (bare / ".venv" / "unfinished").exists()
    (bare / "at-work").unlink()
    assert following.wait(PATIENCE_SECONDS) == 0
    assert is_ready(bare)


def children(process):
    """The children of a process, not theirs: of `make`, the installer."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(each) for each in listed]


@pytest.mark.slow
def test_pip_goes_on_where_uv_fails(bare):
    done = make(bare, how=NO_NETWORK)
    assert done.returncode == 0, done.stderr
    assert "uv failed (Caused by: dns error): going on with pip" in done.stdout
    assert is_ready(bare)


@pytest.mark.slow
def test_without_a_network_it_says_so_and_the_next_one_is_right(bare):
    wheels = bare / "wheels"
    wheel = next(wheels.glob("ml_metadata*"))
    wheel.rename(bare / wheel.name)
    failed = make(bare, how=NO_NETWORK)
    assert failed.returncode != 0
    assert "make: the packages could not be downloaded: " in failed.stderr
    assert "Check the network" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert packages.installed_lock(bare / ".venv") is None
    (bare / wheel.name).rename(wheels / wheel.name)
    assert make(bare).returncode == 0
    assert is_ready(bare)


@pytest.mark.slow
def test_a_package_that_is_not_the_locked_one_is_refused(bare):
    for name in LOCKS:
        lock = bare / "requirements" / name
        line = lock.read_text()
        lock.write_text(line[:-2] + ("0" if line[-2] != "0" else "1") + "\n")
    failed = make(bare)
    assert failed.returncode != 0
    assert "make: a package is not the one that the lock names: " in failed.stderr
    assert "ml-metadata==1.0" in failed.stderr
    assert packages.installed_lock(bare / ".venv") is None


@pytest.mark.slow
def test_libraries_that_do_not_load_are_no_environment(bare):
    broken = "raise ImportError('version `GLIBC_9.9` not found')"
    line = write_wheel(bare, "ml_metadata", "2.0", {"ml_metadata/__init__.py": broken})
    for name in LOCKS:
        write_lock(bare, name, line)
    failed = make(bare)
    assert failed.returncode != 0
    assert "cannot be loaded here: ImportError: version `GLIBC_9.9` not found" in failed.stderr
    assert packages.installed_lock(bare / ".venv") is None


@pytest.mark.slow
def test_what_python_is_told_otherwise_does_not_matter(bare):
    (bare / "theirs").mkdir()
    (bare / "theirs" / "json.py").write_text("raise SystemExit('theirs')")
    told = {"PYTHONHOME": "/nowhere", "PYTHONPATH": "theirs", "PYTHONSAFEPATH": "1"}
    done = make(bare, **told)
    assert done.returncode == 0, done.stderr
    assert is_ready(bare)


@pytest.mark.slow
@pytest.mark.parametrize("end", [">&-", "> /dev/full", "| head -1"])
def test_nobody_who_reads_is_no_error(ready, end):
    command = ["bash", "-o", "pipefail", "-c", f"make setup {end}"]
    ended = subprocess.run(command, cwd=ready, env=settings(ready), capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_a_package_that_is_gone_is_brought_back(ready):
    (site,) = (ready / ".venv").glob("lib/python*/site-packages")
    shutil.rmtree(site / "ml_metadata")
    shutil.rmtree(site / "ml_metadata-1.0.dist-info")
    assert make(ready).returncode == 0
    assert is_ready(ready)


@pytest.mark.slow
def test_somebody_elses_environment_is_moved_aside(bare):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare / ".venv"], check=True)
    (bare / ".venv" / "theirs").write_text("kept")
    done = make(bare)
    assert done.returncode == 0, done.stderr
    assert ".venv was not made by this project. It is called .venv.before-1 now." in done.stdout
    assert (bare / ".venv.before-1" / "theirs").read_text() == "kept"
    assert is_ready(bare)


@pytest.mark.slow
def test_one_that_is_activated_does_not_make_its_successor(bare):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare / ".venv"], check=True)
    path = f"{bare / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = make(bare, PYTHON="", PATH=path)
    assert done.returncode == 0, done.stderr
    assert is_ready(bare)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["setup", "tests"])
def test_what_cannot_be_downloaded_leaves_what_worked(ready, target):
    """Offline, with a lock that was just pulled: the environment of before goes on working."""
    record = packages.installed_lock(ready / ".venv")
    before = record.read_bytes()
    absent = "absent==1.0 --hash=sha256:" + "0" * 64 + "\n"
    changed = LOCKS if target == "setup" else ["test.txt"]
    for name in changed:
        write_lock(ready, name, absent)
    failed = make(ready, how=NO_NETWORK) if target == "setup" else add_tests(ready, NO_NETWORK)
    assert failed.returncode != 0
    assert "could not be downloaded" in failed.stderr
    assert is_ready(ready)
    assert record.read_bytes() == before
    # What is asked for now is there.
    if target == "tests":
        assert make(ready, how=NO_NETWORK).returncode == 0


@pytest.mark.slow
def test_a_disk_that_fills_up_is_told(bare):
    failed = make(bare, how=FULL_DISK)
    assert failed.returncode != 0
    assert "make: a disk is full: Caused by: No space left on device (os error 28)" in failed.stderr
    assert "going on with pip" not in failed.stdout


@pytest.mark.slow
def test_settings_that_would_install_elsewhere_do_not(bare, tmp_path):
    elsewhere = str(tmp_path / "elsewhere")
    done = make(bare, PIP_TARGET=elsewhere, PIP_PREFIX=elsewhere, UV_TARGET=elsewhere)
    assert done.returncode == 0, done.stderr
    assert is_ready(bare)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_file_of_settings_that_installs_elsewhere_is_told(bare, tmp_path):
    file = tmp_path / "uv.toml"
    file.write_text(f"[pip]\ntarget = '{tmp_path}/elsewhere'\n")
    failed = make(bare, UV_CONFIG_FILE=str(file))
    assert failed.returncode != 0
    assert "1 packages are not in " in failed.stderr
    assert "uv.toml" in failed.stderr


@pytest.mark.slow
def test_one_of_another_python_is_made_anew(ready):
    """As after an upgrade of the system: the link leads to another Python than before."""
    file = ready / ".venv" / "pyvenv.cfg"
    file.write_text(file.read_text().replace("version = 3.", "version = 3.1"))
    done = make(ready)
    assert done.returncode == 0, done.stderr
    assert ".venv was made of another Python or lock: making it anew." in done.stdout
    assert is_ready(ready)


@pytest.mark.slow
def test_one_whose_python_is_gone_is_made_anew(ready):
    (ready / ".venv" / "bin" / "python").unlink()
    assert make(ready).returncode == 0
    assert is_ready(ready)


@pytest.mark.slow
def test_a_changed_lock_is_installed_into_it(ready):
    line = write_wheel(ready, "ml_metadata", "2.0", {"ml_metadata/__init__.py": "IS = 2\n"})
    for name in LOCKS:
        write_lock(ready, name, line)
    mine = ready / ".venv" / "mine"
    mine.write_text("kept")
    assert make(ready).returncode == 0
    assert answer(ready, "import ml_metadata; print(ml_metadata.IS)") == "2\n"
    assert mine.exists()


@pytest.mark.slow
def test_what_the_lock_no_longer_names_is_removed(ready):
    """So that an environment is the same whether it is new or was brought up to date."""
    line = (ready / "requirements" / LOCKS[0]).read_text()
    more = write_wheel(ready, "tried", "1.0", {"tried.py": ""})
    for name in LOCKS:
        write_lock(ready, name, line + more)
    assert make(ready).returncode == 0
    assert answer(ready, "import tried; print('there')") == "there\n"
    for name in LOCKS:
        write_lock(ready, name, line)
    assert make(ready).returncode == 0
    assert answer(ready, "import tried; print('there')") == ""
    assert is_ready(ready)


@pytest.mark.slow
def test_what_the_tests_need_comes_with_them(ready):
    assert add_tests(ready).returncode == 0
    assert answer(ready, "import tried; print('there')") == "there\n"
    assert (ready / ".venv/requirements/test.txt").exists()


def add_tests(project, how="install"):
    command = [sys.executable, "-m", "pipeline.installation", "--tests"]
    environment = settings(project, how)
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def answer(project, code):
    python = [project / ".venv/bin/python", "-c", code]
    return subprocess.run(python, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_it_may_be_a_link_to_another_disk(bare, tmp_path):
    (tmp_path / "disk").mkdir()
    (bare / ".venv").symlink_to(tmp_path / "disk")
    assert make(bare).returncode == 0
    assert (bare / ".venv").is_symlink()
    assert is_ready(bare)
    assert make(bare, "clean-env").returncode == 0
    assert (bare / ".venv").is_symlink()
    assert list((tmp_path / "disk").iterdir()) == []


def test_removing_takes_all_of_it(small_project, tmp_path):
    project = Path(shutil.copytree(small_project, tmp_path / "project"))
    assert make(project, "clean-env").returncode == 0
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to("/nowhere")
    assert make(project, "clean-env").returncode == 0
    assert not (project / ".venv").exists()


@pytest.mark.parametrize("name", ["a b/python", 'a"b/python', "a'b/$HOME/python", "%p/`x`/python"])
def test_a_python_of_any_name_is_told_as_it_was_given(small_project, name):
    failed = make(small_project, PYTHON=name)
    assert failed.returncode != 0
    assert f"PYTHON={name}, which is no Python 3 that starts" in failed.stderr


@pytest.mark.parametrize("name", ["/bin/true", "-V", "/bin/ls"])
def test_a_program_that_is_no_python_makes_nothing(small_project, tmp_path, name):
    project = Path(shutil.copytree(small_project, tmp_path / "project"))
    failed = make(project, PYTHON=name)
    assert failed.returncode != 0
    assert f"PYTHON={name}, which is no Python 3 that starts" in failed.stderr


def test_a_path_that_no_environment_can_have_is_told(small_project, tmp_path):
    project = Path(shutil.copytree(small_project, tmp_path / "a:b"))
    failed = make(project)
    assert failed.returncode != 0
    assert "holds a colon" in failed.stderr
    assert not (project / ".venv").exists()


def test_a_full_disk_is_told_before_anything_is_done(monkeypatch, tmp_path, capsys):
    enter(monkeypatch, tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(virtual_environment.shutil, "disk_usage", lambda place: usage)
    assert virtual_environment.main(["--python", sys.executable]) == 1
    found, way_out = capsys.readouterr().err.splitlines()
    assert "takes 4.0 GB, and 1.0 GB are free" in found
    assert "Make room" in way_out
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write to every folder")
def test_a_folder_that_cannot_be_written_to_is_told(monkeypatch, tmp_path, capsys):
    enter(monkeypatch, tmp_path)
    tmp_path.chmod(0o500)
    assert virtual_environment.main(["--python", sys.executable]) == 1
    assert "Permission denied; expected to read and write it." in capsys.readouterr().err


def enter(monkeypatch, folder):
    """Lets the installer of this process work in another folder."""
    monkeypatch.setattr(virtual_environment.packages, "PROJECT", folder)
    for name in ("ENVIRONMENT", "BUSY", "UNFINISHED", "RECORDS"):
        own = getattr(virtual_environment, name).relative_to(PROJECT)
        monkeypatch.setattr(virtual_environment, name, folder / own)


def test_it_says_what_it_takes(capsys):
    with contextlib.suppress(SystemExit):
        virtual_environment.main(["--help"])
    assert "--tests" in capsys.readouterr().out
