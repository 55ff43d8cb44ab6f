"""The precision of a training: what is asked for, or what the processor has."""

import hypothesis
import pytest
from hypothesis import strategies

from pipeline import precision
from pipeline.errors import ConfigurationError

OLDER = ["avx2", "avx512f", "fma"]
FEATURES = strategies.lists(strategies.sampled_from([*OLDER, *precision.BFLOAT16_FEATURES]))


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16"])
@pytest.mark.parametrize("wanted", ["auto", "bfloat16"])
def test_either_feature_gives_bfloat16(wanted, feature):
    assert precision.resolve(wanted, [*OLDER, feature]) == "bfloat16"


@pytest.mark.parametrize("features", [[], OLDER, ["avx512_bf16_of_another_name"]], ids=str)
def test_auto_is_float32_on_any_other_processor(features):
    assert precision.resolve("auto", features) == "float32"


@hypothesis.given(FEATURES)
def test_float32_is_always_to_be_had(features):
    assert precision.resolve("float32", features) == "float32"


@pytest.mark.parametrize("features", [[], OLDER], ids=str)
def test_bfloat16_is_refused_where_it_would_be_emulated(features):
    with pytest.raises(ConfigurationError) as caught:
        precision.resolve("bfloat16", features)
    message = str(caught.value)
    assert message.startswith("training.precision: found 'bfloat16'")
    assert "neither avx512_bf16 nor amx_bf16; expected a processor with one" in message
    assert "Set training.precision=float32, or auto" in message


@hypothesis.given(strategies.sampled_from(["auto", "float32", "bfloat16"]), FEATURES)
def test_whatever_is_asked_for_it_is_one_of_two_or_refused(wanted, features):
    try:
        found = precision.resolve(wanted, features)
    except ConfigurationError:
        assert wanted == "bfloat16"
    else:
        assert found in ("float32", "bfloat16")
        assert wanted in ("auto", found)
