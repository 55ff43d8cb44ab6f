"""The export: three endpoints that answer alike, and that need nothing but TensorFlow."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

ENDPOINTS = ("serving_default", "predict_pixels", "predict_image_bytes")
COUNT = 20
# Batches of another size let oneDNN choose another order of sums.
TOLERANCE = 1e-5
_FURTHER_SIZES = ((84, 84), (280, 280), (80, 112), (20, 14))


@pytest.fixture(scope="module")
def images(sample_images):
    return sample_images.test_images[:COUNT]


@pytest.fixture(scope="module")
def export(sample_run):
    return tf.saved_model.load(str(sample_run.export))


@pytest.fixture(scope="module")
def ask(export):
    """Asks an endpoint, and returns its answer as arrays."""

    def answer(endpoint, question):
        signature = export.signatures[endpoint]
        (name,) = signature.structured_input_signature[1]
        found = signature(**{name: tf.constant(question)})
        return {key: value.numpy() for key, value in found.items()}

    return answer


@pytest.fixture(scope="module")
def expected(ask, images):
    return ask("predict_pixels", images)


def example(image, **further):
    """A serialized example that holds the image, and what else is given."""
    raw = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()]))
    features = tf.train.Features(feature={"image": raw, **further})
    return tf.train.Example(features=features).SerializeToString()


def encoded(image, kind, **options):
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


def assert_alike(answer, expected):
    np.testing.assert_allclose(
        answer["probabilities"], expected["probabilities"], rtol=0, atol=TOLERANCE
    )
    assert answer["class_id"].tolist() == expected["class_id"].tolist()
    assert answer["class_name"].tolist() == expected["class_name"].tolist()


def test_there_are_three_endpoints(export):
    assert set(export.signatures) == set(ENDPOINTS)


def test_an_answer_is_probabilities_and_the_class_they_name(expected, sample_run):
    probabilities = expected["probabilities"]
    names = [name.encode() for name in sample_run.evaluation["per_class"]]
    assert probabilities.shape == (COUNT, 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert expected["class_id"].dtype == np.int64
    assert expected["class_id"].tolist() == probabilities.argmax(axis=1).tolist()
    assert expected["class_name"].tolist() == [names[i] for i in expected["class_id"]]


def test_the_model_was_worth_exporting(expected, sample_images):
    assert np.mean(expected["class_id"] == sample_images.test_labels[:COUNT]) >= 0.8


def test_pixels_may_come_with_channels(ask, images, expected):
    assert_alike(ask("predict_pixels", images[..., np.newaxis]), expected)


def test_an_example_needs_the_image_alone(ask, images, expected):
    assert_alike(ask("serving_default", [example(image) for image in images]), expected)


def test_an_example_may_hold_more_which_is_not_read(ask, images, expected):
    label = tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))
    assert_alike(ask("serving_default", [example(i, label=label) for i in images]), expected)


def test_png_files_are_the_same_images(ask, images, expected):
    files = [encoded(image, "PNG") for image in images]
    assert_alike(ask("predict_image_bytes", files), expected)


def test_a_png_in_colour_is_made_grey(ask, images, expected):
    files = [encoded(np.repeat(image[..., np.newaxis], 3, axis=2), "PNG") for image in images]
    assert_alike(ask("predict_image_bytes", files), expected)


def test_jpeg_files_are_nearly_the_same_images(ask, images, expected):
    files = [encoded(image, "JPEG", quality=100) for image in images]
    answer = ask("predict_image_bytes", files)
    # Of an image between two classes little is needed to change the answer, and of others much.
    differences = np.abs(np.subtract(answer["probabilities"], expected["probabilities"]))
    assert differences.max() < 0.25
    assert differences.mean() < 0.01


@pytest.mark.parametrize(
    "size",
    [
        (31, 31),
        (112, 80),
        (14, 20),
        (300, 9),
        *(pytest.param(size, marks=pytest.mark.slow) for size in _FURTHER_SIZES),
    ],
)
def test_files_of_any_size_are_scaled_to_fit_on_black(ask, images, size):
    """What Pillow fits with its own bilinear filter is answered alike, as pixels."""
    side = images.shape[1]
    width, height = (max(side * length // max(size), 1) for length in size)
    left, top = (side - width) // 2, (side - height) // 2
    files = []
    fitted = np.zeros_like(images)
    for image, canvas in zip(images, fitted, strict=True):
        photograph = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
        scaled = photograph.resize((width, height), Image.Resampling.BILINEAR)
        canvas[top : top + height, left : left + width] = scaled
        files.append(encoded(np.asarray(photograph), "PNG"))
    answer, expected = ask("predict_image_bytes", files), ask("predict_pixels", fitted)
    # TensorFlow rounds some values otherwise; docs/images.md has the bound.
    np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], atol=0.05)


def test_a_batch_may_be_of_one(ask, images, expected):
    answer = ask("predict_pixels", images[:1])
    assert_alike(answer, {key: value[:1] for key, value in expected.items()})


@pytest.mark.parametrize(
    "shape",
    [(2, 27, 28), (2, 28, 27), (2, 14, 56), (2, 784), (2, 28, 28, 3), (28, 28), (1, 2, 28, 28, 1)],
)
def test_pixels_of_another_shape_are_refused(ask, shape):
    with pytest.raises(tf.errors.InvalidArgumentError, match="pixels must have the shape"):
        ask("predict_pixels", np.zeros(shape, np.uint8))


def test_an_example_with_another_number_of_bytes_is_refused(ask, images):
    with pytest.raises(tf.errors.InvalidArgumentError):
        ask("serving_default", [example(images[0][:27])])


def test_a_file_that_is_no_image_is_refused(ask):
    with pytest.raises(tf.errors.InvalidArgumentError):
        ask("predict_image_bytes", [b"no image"])


def test_an_example_without_an_image_is_refused(ask):
    with pytest.raises(tf.errors.InvalidArgumentError):
        ask("serving_default", [tf.train.Example().SerializeToString()])


ASK_WITH_TENSORFLOW_ALONE = """
import json, sys
import numpy as np
import tensorflow as tf
export, pixels = sys.argv[1], np.load(sys.argv[2])
loaded = tf.saved_model.load(export)
new = loaded.signatures["predict_pixels"](pixels=tf.constant(pixels))["probabilities"].numpy()
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    signature = tf.compat.v1.saved_model.load(session, ["serve"], export).signature_def[
        "predict_pixels"]
    old = session.run(signature.outputs["probabilities"].name,
                      {signature.inputs["pixels"].name: pixels})
known = {"cli", "components", "operations", "pipeline", "review"}
known |= {"tfx", "tensorflow_transform", "tfx_bsl", "apache_beam"}
print(json.dumps([new.tolist(), old.tolist(), sorted(known & set(sys.modules))]))
"""


@pytest.mark.slow
def test_it_loads_where_there_is_tensorflow_and_nothing_else(
    sample_run, images, expected, tmp_path
):
    """By the loader of TensorFlow 2 and by that of TensorFlow 1, which TensorFlow Serving uses."""
    shutil.copytree(sample_run.export, tmp_path / "model")
    np.save(tmp_path / "pixels.npy", images)
    ended = subprocess.run(
        [sys.executable, "-I", "-c", ASK_WITH_TENSORFLOW_ALONE, "model", "pixels.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    new, old, imported = json.loads(ended.stdout.splitlines()[-1])
    assert imported == []
    np.testing.assert_allclose(new, expected["probabilities"], atol=TOLERANCE)
    np.testing.assert_allclose(old, expected["probabilities"], atol=TOLERANCE)
