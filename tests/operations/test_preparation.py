"""What is refused before anything heavy is imported, as it would fail hours later."""

import multiprocessing

import pytest

from operations.preparation import prepare
from pipeline.errors import ConfigurationError


def test_a_machine_without_shared_memory_is_refused(request_, progress, monkeypatch, output_dir):
    def refuse():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(multiprocessing, "Lock", refuse)
    with pytest.raises(ConfigurationError, match=r"no lock can be made in /dev/shm .* expected"):
        prepare(request_, progress)
    assert not output_dir.exists()
