"""What is refused before anything heavy is imported, as it would fail hours later."""

import dataclasses
import multiprocessing
import shutil

import numpy as np
import pytest

from operations.preparation import Progress, prepare
from pipeline.errors import ConfigurationError, OutputError


def test_a_machine_without_shared_memory_is_refused(request_, progress, monkeypatch, output_dir):
    def refuse():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(multiprocessing, "Lock", refuse)
    with pytest.raises(ConfigurationError, match=r"no lock can be made in /dev/shm .* expected"):
        prepare(request_, progress)
    assert not output_dir.exists()


@pytest.fixture
def data(tmp_path, as_idx):
    """IDX files of the shape and the classes of the project's schema."""
    folder = tmp_path / "data"
    folder.mkdir()
    for half in ("train", "t10k"):
        pixels = np.random.default_rng(1).integers(0, 256, (30, 28, 28))
        (folder / f"{half}-images-idx3-ubyte").write_bytes(as_idx(pixels))
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(as_idx(np.arange(30) % 10))
    return folder


@pytest.mark.parametrize("place", [".", "outputs", "../link/outputs"])
def test_an_output_folder_in_the_data_is_refused(request_, progress, data, place):
    (data.parent / "link").symlink_to(data)
    asked = dataclasses.replace(request_, data=str(data), output_dir=data / place)
    before = sorted(data.iterdir())
    with pytest.raises(OutputError, match=r"is in the data folder .* Choose one with --output-dir"):
        prepare(asked, progress)
    assert sorted(data.iterdir()) == before


def test_a_run_on_other_data_than_the_last_one_is_warned_of(
    request_, data, receipt, keep_receipt, tmp_path
):
    """Two projects whose folders have one name share the name of their pipeline."""
    told = []

    class Listening(Progress):
        def notify(self, line):
            told.append(line)

    def warnings(place):
        told.clear()
        assignments = ("name=clothes", "split.validation=1")
        asked = dataclasses.replace(request_, data=str(place), assignments=assignments)
        prepared = prepare(asked, Listening())
        return [line for line in told if line.startswith("Warning: the last run")], prepared

    nothing, prepared = warnings(data)
    assert nothing == []
    kept = keep_receipt(receipt)
    (warning,), _ = warnings(data)
    assert f"pipeline clothes ({kept.run_id}) was on other data, {kept.data.name}; " in warning
    assert f"this one is on {data}." in warning
    known = kept.data.model_copy(update={"name": str(data), "sha256": prepared.data.sha256s})
    keep_receipt(kept.changed(run_id="20260103-030405", data=known))
    assert warnings(data)[0] == []
    # The same files at another place.
    moved = shutil.copytree(data, tmp_path / "moved")
    assert warnings(moved)[0] == []
