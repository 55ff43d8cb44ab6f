"""Environment variables of this process and its children.

Keras reads `~/.keras/keras.json`, and the numerical libraries read dozens of environment variables.
A result that depends on them would not be reproducible, and the cache would not notice. So each
entry point calls `enter` before it imports these libraries. Child processes inherit the variables.

This module uses only the standard library and Python 3.8 syntax, since the doctor lists the
dropped variables.
"""

from __future__ import annotations

import os
import warnings

from components import processor

_FAMILIES = ("DNNL_", "KERAS_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "TF_", "XLA_")
_FIXED = {
    "KERAS_BACKEND": "tensorflow",
    # A folder that cannot exist: Keras finds no keras.json there and cannot write one.
    "KERAS_HOME": f"{os.devnull}/keras",
    # Transform's Keras layer would otherwise turn Keras back to version 2.
    "TF_USE_LEGACY_KERAS": "0",
}
# They would send ML Metadata's client of PostgreSQL to another server than that of the lock, or
# give it other settings.
_OF_LIBPQ = ("PGHOSTADDR", "PGOPTIONS", "PGSERVICE", "PGSERVICEFILE", "PGTARGETSESSIONATTRS")
# Changes only which log lines TensorFlow prints, not its results.
_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# ML Metadata's client of PostgreSQL would print two lines for each connection; errors stay.
_QUIET = {"GLOG_minloglevel": "2"}
# Changes the order of sums. Receipt and cache key include it as `onednn`.
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Where nobody says, TensorFlow uses it on processors with one of these.
_ONEDNN_FEATURES = frozenset(
    {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
)
# Values that TensorFlow accepts; any other value would end the process.
_ONEDNN_VALUES = {"0": "0", "false": "0", "1": "1", "true": "1"}

# With the value `error`, any warning of a library would end a run.
_WARNINGS = "PYTHONWARNINGS"
# What Python ignores where nobody asks for anything else.
_IGNORED = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)

# Home folder on Debian for users without one.
_NO_HOME = "/nonexistent"

_dropped: set[str] = set()


def enter(log_level: str = "1") -> None:
    """Removes the user's settings of the libraries from the environment, and sets our own.

    Args:
      log_level: Log level of TensorFlow, unless the environment sets one.
    """
    onednn = _ONEDNN_VALUES.get(os.environ.get(_ONEDNN, "").lower())
    kept = {**_FIXED, _LOG_LEVEL: os.environ.get(_LOG_LEVEL, log_level)}
    if onednn is not None:
        kept[_ONEDNN] = onednn
    for name in [n for n in os.environ if n.startswith(_FAMILIES) or n in _OF_LIBPQ]:
        if name not in kept or (name in _FIXED and os.environ[name] != _FIXED[name]):
            _dropped.add(name)
        del os.environ[name]
    os.environ.update(kept)
    if os.environ.pop(_WARNINGS, None) is not None:
        _dropped.add(_WARNINGS)
        warnings.resetwarnings()
        for category in _IGNORED:
            warnings.simplefilter("ignore", category)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    # Some libraries read the home folder on import, and fail without one.
    if not os.environ.get("HOME"):
        os.environ.pop("HOME", None)
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = _NO_HOME


def dropped() -> list[str]:
    """Returns the names of the dropped variables, without their values, which may be secrets."""
    return sorted(_dropped)


def onednn() -> bool:
    """Returns whether TensorFlow uses oneDNN's kernels.

    Source: `DefaultOneDnnPolicy` in tensorflow/core/util/port.cc.
    """
    chosen = os.environ.get(_ONEDNN)
    return chosen != "0" if chosen else not _ONEDNN_FEATURES.isdisjoint(processor.flags())
