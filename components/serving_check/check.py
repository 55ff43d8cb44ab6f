"""Checks an export in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

_PROBE = pathlib.Path(__file__).with_name("probe.py")

_TIMEOUT_SECONDS = 300


def check_export(export: str, golden_file: str, class_names: tuple[str, ...]) -> list[str]:
    """Loads an export in a clean process and asks it its golden questions.

    Args:
      export: local folder of the SavedModel.
      golden_file: local `.npz` with `images` (uint8 [N, bytes]), `image_shape` and the trainer's
        own `probabilities` (float32 [N, classes]).
      class_names: in label order.

    Returns:
      What is wrong, one line each; nothing for a sound export.
    """
    command = [sys.executable, "-I", str(_PROBE), export, golden_file]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        ended = subprocess.run(
            [*command, json.dumps(class_names)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return [f"loading the export did not end within {_TIMEOUT_SECONDS} s"]
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        last = (ended.stderr.strip().splitlines() or ["no output"])[-1]
        return [f"the process that loads the export ended with {ended.returncode}: {last}"]
    return json.loads(lines[-1])
