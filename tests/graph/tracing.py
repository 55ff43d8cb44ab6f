"""Whether system calls can be watched here."""

import shutil
import subprocess


def is_possible():
    """Whether strace is there and may trace."""
    if not shutil.which("strace"):
        return False
    command = ["strace", "--output=/dev/null", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0
