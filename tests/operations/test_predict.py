"""Which model `predict` asks, and what it refuses before the model is loaded."""

import functools
import json
import shutil

import pytest
import tensorflow as tf
from PIL import Image

from components import features
from operations import predict
from operations.questions import Invert
from pipeline.errors import UnknownRunError, UnsoundVersionError, UsageError

ask = functools.partial(predict.predict, invert=Invert.AUTO, report=lambda count: None)
DESCRIPTION = {
    "image_shape": [28, 28, 1],
    "class_names": ["bag", "shirt"],
    "fit": "pad",
    "background": 0,
    "border": "dark",
}


@pytest.fixture
def served(tmp_path):
    """Makes a served version of a pipeline."""

    def made(pipeline, version):
        folder = tmp_path / pipeline / "serving" / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"graph")
        described = folder / features.EXPORT_DESCRIPTION_FILE
        described.parent.mkdir()
        described.write_text(json.dumps(DESCRIPTION))
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


def test_where_the_versions_of_the_last_push_are_gone_no_other_pipeline_is_asked(pushed, tmp_path):
    """Its disk may not be mounted, and the models of another one know other classes."""
    pushed("a", 10, sequence=1)
    pushed("b", 11, sequence=2)
    shutil.rmtree(tmp_path / "b" / "serving")
    with pytest.raises(UnknownRunError) as caught:
        predict.served_model(tmp_path, None)
    assert f"{tmp_path}/b/serving holds none now" in str(caught.value)
    assert "To ask another pipeline, name it with --pipeline." in str(caught.value)
    assert predict.served_model(tmp_path, "a") == ("a", 10)


def test_an_earlier_push_that_is_gone_does_not_matter(pushed, tmp_path):
    pushed("a", 10, sequence=1)
    pushed("b", 11, sequence=2)
    shutil.rmtree(tmp_path / "a" / "serving")
    assert predict.served_model(tmp_path, None) == ("b", 11)


def test_a_model_of_the_sample_is_asked_only_where_there_is_no_other(pushed, tmp_path):
    pushed("sample", 12, sequence=2, name="sample")
    assert predict.served_model(tmp_path, None) == ("sample", 12)
    pushed("real", 11, sequence=1)
    assert predict.served_model(tmp_path, None) == ("real", 11)


@pytest.mark.parametrize("name", [None, "shoes", "../shoes", "*", "s" * 256])
def test_without_a_pushed_model_there_is_nothing_to_ask(tmp_path, name):
    with pytest.raises(UnknownRunError) as caught:
        ask([], name, tmp_path)
    assert "no model has been pushed below" in str(caught.value)
    assert f"pipeline_runner.py run --output-dir {tmp_path} (" in str(caught.value)


@pytest.mark.parametrize("name", ["absent.png", "loop", "d" * 256, "a\nb", "\udcff.png"])
def test_a_file_that_cannot_be_read_is_named_without_loading_the_model(name, served, tmp_path):
    """The model of this test cannot be loaded."""
    served("clothes", 1)
    (tmp_path / "loop").symlink_to("loop")
    answer = ask([tmp_path / name], None, tmp_path)
    assert answer.answers == ()
    (refused,) = answer.refused
    assert refused.file == str(tmp_path / name)
    assert "expected" in refused.reason


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("saved_model.pb", ""),
        (features.EXPORT_DESCRIPTION_FILE, "{}"),
        (features.EXPORT_DESCRIPTION_FILE, json.dumps({**DESCRIPTION, "fit": "bend"})),
        (features.EXPORT_DESCRIPTION_FILE, json.dumps({**DESCRIPTION, "background": 256})),
        (features.EXPORT_DESCRIPTION_FILE, json.dumps({**DESCRIPTION, "border": []})),
        (features.EXPORT_DESCRIPTION_FILE, json.dumps({"image_shape": [1], "class_names": ["a"]})),
    ],
)
def test_a_damaged_model_is_not_asked(served, tmp_path, file, content):
    (served("clothes", 1) / file).write_text(content)
    with pytest.raises(UnsoundVersionError, match="expected") as caught:
        ask([tmp_path], None, tmp_path)
    # Without these, a rollback might be that of another pipeline.
    place = f"--pipeline clothes --output-dir {tmp_path}"
    assert str(caught.value).endswith(f"python3 pipeline_runner.py rollback {place}")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.new("L", (28, 28)).save(path)
    return path


def test_too_little_memory_is_no_fault_of_the_model(served, tmp_path, image, monkeypatch):
    export = served("clothes", 1)

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(tf.saved_model, "load", fails)
    with pytest.raises(UsageError, match="too little memory") as told:
        ask([image], None, tmp_path)
    assert not isinstance(told.value, UnsoundVersionError)
    assert str(export) in str(told.value)


def test_a_model_that_tensorflow_cannot_load_is_told_in_words(served, tmp_path, image):
    """It was put there by hand: no digests tell of its damage."""
    served("clothes", 1)
    with pytest.raises(UnsoundVersionError, match=r"serving/1 cannot predict .*; expected"):
        ask([image], None, tmp_path)


def test_a_version_that_is_withdrawn_while_it_is_loaded_is_told_in_words(
    served, tmp_path, image, monkeypatch
):
    export, load = served("clothes", 1), tf.saved_model.load

    def withdrawn(path):
        shutil.rmtree(export)
        return load(path)

    monkeypatch.setattr(tf.saved_model, "load", withdrawn)
    with pytest.raises(
        UnsoundVersionError, match="If the version was withdrawn meanwhile, predict again"
    ):
        ask([image], None, tmp_path)


def test_what_a_folder_holds_besides_images_is_told(served, tmp_path, capsys):
    served("clothes", 1)
    folder = tmp_path / "asked\x1b[31m"
    folder.mkdir()
    for name in ("broken.png", "a.txt", "b.txt", "photo"):
        (folder / name).write_text("text")
    assert len(ask([folder], None, tmp_path).refused) == 1
    told = capsys.readouterr().err
    assert told == f"{tmp_path}/asked\\x1b[31m: ignored 2 .txt, 1 without a suffix\n"
