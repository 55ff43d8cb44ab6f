"""`python -m benchmarks.pytorch_environment` makes the environment of the PyTorch peer.

It lies in `build/pytorch` and shares nothing with `.venv`, which has no PyTorch. PyPI's PyTorch for
Linux is made for CUDA and asks for gigabytes of NVIDIA's libraries, which no CPU calls.
`requirements/pytorch.txt` leaves out all but two, which PyTorch needs to start. The loader still
looks for the others: each missing name becomes a link to a library of PyTorch, and functions are
bound only when they are called, as PyTorch itself offers with `TORCH_USE_RTLD_GLOBAL`.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import shutil
import subprocess
import sys

from benchmarks import command
from cli import command_line
from pipeline.errors import PipelineError

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "pytorch"
LOCK = ROOT / "requirements" / "pytorch.txt"
COMMAND = "python -m benchmarks.pytorch_environment"
LEFT_OUT = (
    f"THE PYTORCH PEER IS LEFT OUT: found no environment of {LOCK.name} in build/pytorch. Make it "
    f"with: {COMMAND}"
)

# Written last: the SHA-256 of the lock that is installed.
_MARK = "lock.sha256"
# Python runs this line at each start.
_START = 'import os; os.environ.setdefault("TORCH_USE_RTLD_GLOBAL", "1")\n'
_MISSING_LIBRARY = re.compile(r"^\s*(\S+) => not found$", re.MULTILINE)

app = command.application()


class EnvironmentFailed(PipelineError):
    """The environment cannot be made."""


@app.command(
    cls=command_line.Command,
    epilog=f"""Example:

`{COMMAND}`""",
)
def main() -> None:
    """Make the environment of the PyTorch peer (0.7 GB to download, 1.4 GB on disk)."""
    make()
    print(f"Made {FOLDER.relative_to(ROOT)}.")


def python() -> str | None:
    """Returns the environment's Python; None if the environment is missing or of another lock."""
    mark = FOLDER / _MARK
    current = mark.exists() and mark.read_text(encoding="utf-8") == _digest()
    return str(_python()) if current else None


def make() -> None:
    """Makes the environment anew.

    Raises:
      EnvironmentFailed: If a package cannot be installed, or PyTorch does not start.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    _run([*uv, "venv", "--quiet", "--python", sys.executable, str(FOLDER)])
    checks = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(LOCK)]
    _run([*uv, "pip", "install", "--python", str(_python()), *checks])
    (packages,) = FOLDER.glob("lib/python*/site-packages")
    _bind_without_cuda(packages)
    _run([str(_python()), "-c", "import torch; torch.ones(1)"])
    (FOLDER / _MARK).write_text(_digest(), encoding="utf-8")


def _bind_without_cuda(packages: pathlib.Path) -> None:
    (packages / "bind_when_called.pth").write_text(_START, encoding="utf-8")
    libraries = packages / "torch" / "lib"
    listed = _run(["ldd", str(libraries / "libtorch_python.so")], stdout=subprocess.PIPE)
    for name in set(_MISSING_LIBRARY.findall(listed)):
        # Any library serves that is loaded anyway and names no versions of its symbols.
        (libraries / name).symlink_to("libc10.so")


def _run(arguments: list[str], stdout: int | None = None) -> str:
    """Runs a command; returns what it printed, if `stdout` is a pipe."""
    try:
        return subprocess.run(arguments, check=True, stdout=stdout, text=True).stdout or ""
    except (OSError, subprocess.CalledProcessError) as error:
        raise EnvironmentFailed(
            f"the environment in {FOLDER} could not be made ({error}); expected PyTorch to be "
            "installed and to start, on Linux. Read the lines above, check network and disk, "
            f"then: {COMMAND}"
        ) from error


def _python() -> pathlib.Path:
    return FOLDER / "bin" / "python"


def _digest() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


if __name__ == "__main__":
    command_line.start(app)
