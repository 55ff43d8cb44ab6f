"""The environment variables of this process and its children. Standard library alone.

Keras reads `~/.keras/keras.json`, and the libraries that compute read dozens of environment
variables. A result that depends on one of them could not be repeated, nor would the cache know. So
each entry point calls `enter` before it imports anything heavy. Child processes inherit the result.
No syntax newer than Python 3.8: the doctor shows what was dropped.
"""

from __future__ import annotations

import os

_FAMILIES = ("DNNL_", "KERAS_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "TF_", "XLA_")
_FIXED = {
    "KERAS_BACKEND": "tensorflow",
    # A folder that cannot exist: Keras finds no keras.json there and cannot write one.
    "KERAS_HOME": f"{os.devnull}/keras",
    # Transform's Keras layer would otherwise turn Keras back to version 2.
    "TF_USE_LEGACY_KERAS": "0",
}
# Changes which log lines TensorFlow prints, and no figure.
_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Changes the order of sums. Receipt and cache key have it as `onednn`.
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# As TensorFlow reads it; any other value would end the process.
_ONEDNN_VALUES = {"0": "0", "false": "0", "1": "1", "true": "1"}

# Debian's home folder of a user who has none.
_NO_HOME = "/nonexistent"

_dropped: set[str] = set()


def enter(log_level: str = "1") -> None:
    """Drops the user's settings from the environment of this process and of its children.

    Args:
      log_level: of TensorFlow, unless the environment sets one.
    """
    onednn = _ONEDNN_VALUES.get(os.environ.get(_ONEDNN, "").lower())
    kept = {**_FIXED, _LOG_LEVEL: os.environ.get(_LOG_LEVEL, log_level)}
    if onednn is not None:
        kept[_ONEDNN] = onednn
    for name in [name for name in os.environ if name.startswith(_FAMILIES)]:
        if name not in kept or (name in _FIXED and os.environ[name] != _FIXED[name]):
            _dropped.add(name)
        del os.environ[name]
    os.environ.update(kept)
    # Libraries look for the home folder when they are imported, and fail without one.
    if not os.environ.get("HOME"):
        os.environ.pop("HOME", None)
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = _NO_HOME


def dropped() -> list[str]:
    """Names of the variables that were dropped. Not their values, which may be secrets."""
    return sorted(_dropped)


def onednn() -> bool:
    """Whether TensorFlow takes oneDNN's kernels."""
    return os.environ.get(_ONEDNN, "1") != "0"
