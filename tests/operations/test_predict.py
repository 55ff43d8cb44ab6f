"""Which model `predict` asks, and what it refuses before the model is loaded."""

import pytest

from operations import predict
from pipeline.errors import DataError, PathError, UnknownRunError


@pytest.fixture
def served(tmp_path):
    """Makes a served version of a pipeline."""

    def made(pipeline, version):
        folder = tmp_path / pipeline / "serving" / str(version)
        folder.mkdir(parents=True)
        return folder

    return made


def test_the_newest_version_of_all_pipelines_is_asked(served, tmp_path):
    for pipeline, version in (("a", 10), ("b", 9), ("a", 8)):
        served(pipeline, version)
    served("b", 11)
    assert predict.served_model(tmp_path, None) == ("b", 11)
    assert predict.served_model(tmp_path, "a") == ("a", 10)


def test_the_pipeline_that_pushed_last_is_asked_whatever_the_clock_said(pushed, tmp_path):
    """Versions are named by the time; under a clock set to the future, by a high one."""
    pushed("a", 4_000_000_000, sequence=1)
    pushed("b", 11, sequence=2)
    assert predict.served_model(tmp_path, None) == ("b", 11)


@pytest.fixture
def pushed(served, pushed_receipt, tmp_path):
    """A pipeline that pushed a version, with its receipt."""

    def push(pipeline, version, sequence, **data):
        served(pipeline, version)
        described = {**pushed_receipt.data.model_dump(), **data}
        receipt = pushed_receipt.changed(
            pipeline=pipeline, sequence=sequence, pushed_version=version, data=described
        )
        folder = tmp_path / pipeline / "runs" / receipt.run_id
        folder.mkdir(parents=True)
        receipt.write(folder)

    return push


def test_a_model_of_the_sample_is_asked_only_where_there_is_no_other(pushed, tmp_path):
    pushed("sample", 12, sequence=2, name="sample")
    assert predict.served_model(tmp_path, None) == ("sample", 12)
    pushed("real", 11, sequence=1)
    assert predict.served_model(tmp_path, None) == ("real", 11)


@pytest.mark.parametrize("name", [None, "shoes", "../shoes", "*", "s" * 256])
def test_without_a_pushed_model_there_is_nothing_to_ask(tmp_path, name):
    with pytest.raises(UnknownRunError) as caught:
        predict.predict([], name, tmp_path)
    assert "no model has been pushed below" in str(caught.value)
    assert "pipeline_runner.py run" in str(caught.value)


def test_a_file_that_is_missing_is_refused_before_the_model_is_loaded(served, tmp_path):
    served("clothes", 1)
    with pytest.raises(DataError, match=r"absent\.png is not a file"):
        predict.predict([tmp_path / "absent.png"], None, tmp_path)


@pytest.mark.parametrize("name", ["loop", "d" * 256, "a\nb"])
def test_a_file_that_nothing_can_be_said_of_is_refused(name, served, tmp_path):
    served("clothes", 1)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PathError, match="expected"):
        predict.predict([tmp_path / name], None, tmp_path)
