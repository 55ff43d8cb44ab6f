"""Asks an export its golden questions, in a process that has TensorFlow and nothing else.

Started by its path, not as a module, so that nothing of this project can lend the export a hand:

    python probe.py < TASK_JSON

The task has `export` (a folder), `golden_file` and `class_names`. It is read when TensorFlow has
been imported, so that the process can get ready before there is an export. An input that ends
without a task ends the process, which thus does not outlive the one that started it.

Prints the findings as a JSON list on its last line; an empty list is a sound export.
"""

import gc
import json
import sys

# It would go through all of TensorFlow time and again, in a process that ends before it matters.
gc.disable()
# A server of the export has neither, so the export must not need them. TensorFlow imports both
# where they are there (it catches the ImportError where not: Keras to register its optimizers, JAX
# for a converter to TFLite), and what they bring along takes longer than TensorFlow itself.
for _name in ("keras", "jax"):
    sys.modules[_name] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

# The trainer answered from the same weights in float32. What remains is the order of sums, which
# oneDNN chooses by batch size.
_TOLERANCE = 1e-4
_SERVING_DEFAULT, _PIXELS, _IMAGE_BYTES = (
    "serving_default",
    "predict_pixels",
    "predict_image_bytes",
)


def main(export: str, golden_file: str, class_names: list[str]) -> list[str]:
    """Loads the export as TensorFlow 2 and as TensorFlow 1 do, and returns what is wrong."""
    golden = np.load(golden_file)
    images, expected = golden["images"], golden["probabilities"]
    questions = _questions(images, tuple(golden["image_shape"]))
    findings: list[str] = []
    for loader, ask in (("TensorFlow 2", _ask), ("TensorFlow 1", _ask_as_tensorflow_1)):
        try:
            answers = ask(export, questions)
        except Exception as error:  # Whatever the loader raises, the export is what is broken.
            # The first line says it; TensorFlow adds where in the graph it was, line by line.
            told = next(iter(str(error).strip().splitlines()), "no reason given")
            findings.append(f"the {loader} loader failed: {type(error).__name__}: {told}")
            continue
        for endpoint, answer in answers.items():
            findings += _compare(f"{endpoint} ({loader})", answer, expected, class_names)
    return findings


def _questions(images: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    pixels = images.reshape(-1, *shape)
    return {
        _SERVING_DEFAULT: np.array([_example(image) for image in images], dtype=object),
        _PIXELS: pixels,
        _IMAGE_BYTES: np.array([_png(image) for image in pixels], dtype=object),
    }


def _example(image: np.ndarray) -> bytes:
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()]))
    features = tf.train.Features(feature={"image": value})
    return tf.train.Example(features=features).SerializeToString()


def _png(image: np.ndarray) -> bytes:
    return tf.io.encode_png(image).numpy()


def _ask(export: str, questions: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    loaded = tf.saved_model.load(export)
    answers = {}
    for endpoint, question in questions.items():
        signature = loaded.signatures[endpoint]
        name = next(iter(signature.structured_input_signature[1]))
        answer = signature(**{name: tf.constant(question)})
        answers[endpoint] = {key: value.numpy() for key, value in answer.items()}
    return answers


def _ask_as_tensorflow_1(
    export: str, questions: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    answers = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], export)
        for endpoint, question in questions.items():
            signature = loaded.signature_def[endpoint]
            (source,) = signature.inputs.values()
            outputs = {key: info.name for key, info in signature.outputs.items()}
            answers[endpoint] = session.run(outputs, {source.name: question})
    return answers


def _compare(
    endpoint: str, answer: dict[str, np.ndarray], expected: np.ndarray, class_names: list[str]
) -> list[str]:
    probabilities = answer["probabilities"]
    if probabilities.shape != expected.shape or not np.isfinite(probabilities).all():
        return [
            f"{endpoint} answers with shape {probabilities.shape}, not all finite or not of "
            f"{expected.shape}"
        ]
    distance = float(np.abs(probabilities - expected).max())
    ids = probabilities.argmax(axis=-1)
    names = [class_names[number].encode() for number in ids]
    findings = []
    if distance > _TOLERANCE:
        findings.append(
            f"{endpoint} is off by {distance:.3g} from the trained model; expected at most "
            f"{_TOLERANCE:g}"
        )
    if list(answer["class_id"]) != list(ids) or list(answer["class_name"]) != names:
        findings.append(f"{endpoint} names other classes than its own probabilities")
    return findings


if __name__ == "__main__":
    task = sys.stdin.read()
    if task:
        print(json.dumps(main(**json.loads(task))))
