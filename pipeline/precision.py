"""The precision of the training on this machine."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.config import Precision
from pipeline.errors import ConfigurationError

FLOAT32, BFLOAT16 = "float32", "bfloat16"
# bfloat16 is fast with either feature. Without both, TensorFlow emulates it, slower than float32.
BFLOAT16_FEATURES = ("avx512_bf16", "amx_bf16")


def resolve(wanted: Precision, cpu_features: Collection[str]) -> str:
    """Returns `float32` or `bfloat16`.

    Args:
      wanted: Configured precision.
      cpu_features: Processor features, named as in /proc/cpuinfo.

    Raises:
      ConfigurationError: If bfloat16 is configured and the processor does not support it.
    """
    has_bfloat16 = not set(BFLOAT16_FEATURES).isdisjoint(cpu_features)
    if wanted == "auto":
        return BFLOAT16 if has_bfloat16 else FLOAT32
    if wanted == BFLOAT16 and not has_bfloat16:
        raise ConfigurationError(
            "training.precision: found 'bfloat16', but this processor has neither "
            f"{' nor '.join(BFLOAT16_FEATURES)}; expected a processor with one of them. Set "
            "training.precision=float32, or auto to choose by the processor."
        )
    return wanted
