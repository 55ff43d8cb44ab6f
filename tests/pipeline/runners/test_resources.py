"""Quantities as Kubernetes writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runners.resources import QuantityError, Resources


@pytest.mark.parametrize(
    ("cpu", "cores"), [("4", 4), ("0.5", 0.5), ("500m", 0.5), ("1500m", 1.5), ("07", 7)]
)
def test_cores(cpu, cores):
    assert Resources(cpu, "1Gi").cores == cores


@pytest.mark.parametrize(
    ("memory", "gigabytes"),
    [("1G", 1), ("1Gi", 2**30 / 10**9), ("512M", 0.512), ("1.5T", 1500), ("2000000000", 2)],
)
def test_memory(memory, gigabytes):
    assert Resources("1", memory).gigabytes == pytest.approx(gigabytes)


@given(st.text(max_size=6))
def test_what_is_no_quantity_is_refused_and_what_is_one_is_positive(text):
    for cpu, memory in ((text, "1Gi"), ("1", text)):
        try:
            found = Resources(cpu, memory)
        except QuantityError as error:
            assert repr(text) in str(error)
        else:
            assert found.cores > 0 and found.gigabytes > 0
