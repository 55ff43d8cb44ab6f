"""The result of `make setup` if it succeeds, fails or is killed.

The tests use a small project. Its lock file names one small package, and a fake uv fails on demand.
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

# The real uv installs, unless `FAKE_UV` asks for a failure. With `wait`, the fake one creates a
# file and continues when the file is gone.
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
    files = [PROJECT / folder / "__init__.py" for folder in ("components", "pipeline")]
    used = ("class_names", "files", "messages", "redaction")
    files += [PROJECT / "components" / f"{name}.py" for name in used]
    files += [PROJECT / "pipeline" / "streams.py"]
    for path in [*files, *(PROJECT / "pipeline" / "installation").glob("*.py")]:
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
    """Writes a wheel of pure Python; returns its line for a lock file."""
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
    """Returns environment variables for `make setup` without a network, with local wheels."""
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


def installed(project, how="install", **further):
    """What a successful installation says; the environment is ready then."""
    done = make(project, how=how, **further)
    assert done.returncode == 0, done.stderr
    assert is_ready(project)
    return done.stdout


def refused(project, target="setup", how="install", **further):
    """What an installation that fails says, and the reason that it gives."""
    failed = make(project, target, how, **further)
    assert failed.returncode != 0
    assert "Traceback" not in failed.stdout + failed.stderr
    return failed


def is_ready(project):
    """Returns whether the environment works, has its record, and has no mark of an installation."""
    works = subprocess.run([project / ".venv/bin/python", "-c", "import ml_metadata"]).returncode
    record = packages.installed_lock(project / ".venv")
    return works == 0 and record is not None and not (project / ".venv" / "unfinished").exists()


@pytest.mark.slow
def test_it_is_done_once(bare):
    installed(bare)
    record = packages.installed_lock(bare / ".venv")
    assert record.read_bytes() == (bare / "requirements" / record.name).read_bytes()
    before = (bare / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    assert installed(bare) == "The environment in .venv is ready.\n"
    assert (bare / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == before


@pytest.mark.slow
def test_of_two_at_once_the_second_waits_and_both_succeed(bare):
    first = start(bare, "wait")
    wait_for((bare / "at-work").exists)
    second = start(bare)
    wait_for(lambda: "Another installation is in progress in this folder. Waiting" in said(bare))
    (bare / "at-work").unlink()
    assert (first.wait(PATIENCE_SECONDS), second.wait(PATIENCE_SECONDS)) == (0, 0)
    assert said(bare).count("Creating .venv") == 1
    assert is_ready(bare)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_after_one_was_killed_the_next_starts_from_scratch(bare, number, listening_to_signals):
    killed = start(bare, "wait")
    wait_for((bare / "at-work").exists)
    os.killpg(killed.pid, number)
    assert killed.wait(PATIENCE_SECONDS) != 0
    told = "The last installation was interrupted. Starting from scratch."
    assert told in installed(bare)


@pytest.mark.slow
def test_an_interruption_is_reported_without_a_traceback(bare, listening_to_signals):
    interrupted = start(bare, "wait")
    wait_for((bare / "at-work").exists)
    os.killpg(interrupted.pid, signal.SIGINT)
    interrupted.wait(PATIENCE_SECONDS)
    wait_for(lambda: "make: interrupted." in said(bare))
    assert "Traceback" not in said(bare)


@pytest.mark.slow
def test_the_next_one_waits_for_processes_of_a_killed_one(bare):
    """Otherwise it would empty the folder that uv still writes to."""
    killed = start(bare, "wait")
    wait_for((bare / "at-work").exists)
    for process in children(killed.pid):
        os.kill(process, signal.SIGKILL)
    killed.wait(PATIENCE_SECONDS)
    following = start(bare)
    wait_for(lambda: "Waiting for it to end" in said(bare))
    assert (bare / ".venv" / "unfinished").exists()
    (bare / "at-work").unlink()
    assert following.wait(PATIENCE_SECONDS) == 0
    assert is_ready(bare)


def children(process):
    """Returns the direct children of a process; for `make`, this is the installer."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(each) for each in listed]


@pytest.mark.slow
def test_pip_takes_over_if_uv_fails(bare):
    said = installed(bare, how=NO_NETWORK)
    assert "uv failed (Caused by: dns error). Trying pip" in said


@pytest.mark.slow
def test_it_fails_without_a_network_and_the_next_one_succeeds(bare):
    wheels = bare / "wheels"
    wheel = next(wheels.glob("ml_metadata*"))
    wheel.rename(bare / wheel.name)
    failed = refused(bare, how=NO_NETWORK)
    assert "make: the packages could not be downloaded: " in failed.stderr
    assert "Check the network" in failed.stderr
    assert packages.installed_lock(bare / ".venv") is None
    (bare / wheel.name).rename(wheels / wheel.name)
    installed(bare)


@pytest.mark.slow
def test_a_package_that_is_not_the_locked_one_is_refused(bare):
    for name in LOCKS:
        lock = bare / "requirements" / name
        line = lock.read_text()
        lock.write_text(line[:-2] + ("0" if line[-2] != "0" else "1") + "\n")
    failed = refused(bare)
    assert "make: a package does not have the hash of the lock file: " in failed.stderr
    assert "ml-metadata==1.0" in failed.stderr
    assert packages.installed_lock(bare / ".venv") is None


@pytest.mark.slow
def test_it_fails_if_the_libraries_do_not_load(bare):
    broken = "raise ImportError('version `GLIBC_9.9` not found')"
    line = write_wheel(bare, "ml_metadata", "2.0", {"ml_metadata/__init__.py": broken})
    for name in LOCKS:
        write_lock(bare, name, line)
    failed = refused(bare)
    assert "do not load here: ImportError: version `GLIBC_9.9` not found" in failed.stderr
    assert packages.installed_lock(bare / ".venv") is None


@pytest.mark.slow
def test_settings_of_python_do_not_matter(bare):
    (bare / "theirs").mkdir()
    (bare / "theirs" / "json.py").write_text("raise SystemExit('theirs')")
    variables = {"PYTHONHOME": "/nowhere", "PYTHONPATH": "theirs", "PYTHONSAFEPATH": "1"}
    installed(bare, **variables)


@pytest.mark.slow
@pytest.mark.parametrize("end", [">&-", "> /dev/full", "| head -1"])
def test_lost_output_is_no_error(ready, end):
    command = ["bash", "-o", "pipefail", "-c", f"make setup {end}"]
    ended = subprocess.run(command, cwd=ready, env=settings(ready), capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_a_package_that_is_gone_is_brought_back(ready):
    (site,) = (ready / ".venv").glob("lib/python*/site-packages")
    shutil.rmtree(site / "ml_metadata")
    shutil.rmtree(site / "ml_metadata-1.0.dist-info")
    installed(ready)


@pytest.mark.slow
def test_somebody_elses_environment_is_moved_aside(bare):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare / ".venv"], check=True)
    (bare / ".venv" / "theirs").write_text("kept")
    told = ".venv was not made by this project. Renamed it to .venv.before-1."
    assert told in installed(bare)
    assert (bare / ".venv.before-1" / "theirs").read_text() == "kept"


@pytest.mark.slow
def test_one_that_is_activated_does_not_make_its_successor(bare):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare / ".venv"], check=True)
    path = f"{bare / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    installed(bare, PYTHON="", PATH=path)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["setup", "tests"])
def test_what_cannot_be_downloaded_leaves_what_worked(ready, target):
    """Offline, with a lock file that was just pulled: the previous environment keeps working."""
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
    # The environment without the packages for tests is complete.
    if target == "tests":
        assert make(ready, how=NO_NETWORK).returncode == 0


@pytest.mark.slow
def test_a_disk_that_fills_up_is_reported(bare):
    failed = refused(bare, how=FULL_DISK)
    assert "make: a disk is full: Caused by: No space left on device (os error 28)" in failed.stderr
    assert "Trying pip" not in failed.stdout


@pytest.mark.slow
def test_settings_that_would_install_elsewhere_do_not(bare, tmp_path):
    elsewhere = str(tmp_path / "elsewhere")
    installed(bare, PIP_TARGET=elsewhere, PIP_PREFIX=elsewhere, UV_TARGET=elsewhere)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_settings_file_that_installs_elsewhere_is_reported(bare, tmp_path):
    file = tmp_path / "uv.toml"
    file.write_text(f"[pip]\ntarget = '{tmp_path}/elsewhere'\n")
    failed = refused(bare, UV_CONFIG_FILE=str(file))
    assert "1 packages are missing in " in failed.stderr
    assert "uv.toml" in failed.stderr


@pytest.mark.slow
def test_one_of_another_python_is_made_anew(ready):
    """For example after a system upgrade: the link leads to another Python than before."""
    file = ready / ".venv" / "pyvenv.cfg"
    file.write_text(file.read_text().replace("version = 3.", "version = 3.1"))
    told = ".venv was made with another Python or lock file. Creating it again."
    assert told in installed(ready)


@pytest.mark.slow
def test_one_whose_python_is_gone_is_made_anew(ready):
    (ready / ".venv" / "bin" / "python").unlink()
    installed(ready)


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
    """So that an updated environment is the same as a new one."""
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
def test_the_packages_for_tests_are_installed(ready):
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
    installed(bare)
    assert (bare / ".venv").is_symlink()
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
def test_a_python_with_any_name_is_printed_unchanged(small_project, name):
    failed = refused(small_project, PYTHON=name)
    assert f"PYTHON={name}, which does not start as Python 3" in failed.stderr


@pytest.mark.parametrize("name", ["/bin/true", "-V", "/bin/ls"])
def test_a_program_that_is_no_python_makes_nothing(small_project, tmp_path, name):
    project = Path(shutil.copytree(small_project, tmp_path / "project"))
    failed = refused(project, PYTHON=name)
    assert f"PYTHON={name}, which does not start as Python 3" in failed.stderr


def test_a_path_with_a_colon_is_refused(small_project, tmp_path):
    project = Path(shutil.copytree(small_project, tmp_path / "a:b"))
    assert "contains a colon" in refused(project).stderr
    assert not (project / ".venv").exists()


def test_a_full_disk_is_reported_before_anything_is_done(monkeypatch, tmp_path, capsys):
    enter(monkeypatch, tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(virtual_environment.shutil, "disk_usage", lambda place: usage)
    assert virtual_environment.main(["--python", sys.executable]) == 1
    problem, advice = capsys.readouterr().err.splitlines()
    assert "has 1.0 GB of free space; expected 4.0 GB" in problem
    assert "Free some space" in advice
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write to every folder")
def test_a_folder_without_write_permission_is_reported(monkeypatch, tmp_path, capsys):
    enter(monkeypatch, tmp_path)
    tmp_path.chmod(0o500)
    assert virtual_environment.main(["--python", sys.executable]) == 1
    assert "Permission denied; expected read and write permission." in capsys.readouterr().err


def enter(monkeypatch, folder):
    """Makes the installer of this process use another folder."""
    monkeypatch.setattr(virtual_environment.packages, "PROJECT", folder)
    for name in ("ENVIRONMENT", "BUSY", "UNFINISHED", "RECORDS"):
        own = getattr(virtual_environment, name).relative_to(PROJECT)
        monkeypatch.setattr(virtual_environment, name, folder / own)


def test_the_help_lists_the_options(capsys):
    with contextlib.suppress(SystemExit):
        virtual_environment.main(["--help"])
    assert "--tests" in capsys.readouterr().out
