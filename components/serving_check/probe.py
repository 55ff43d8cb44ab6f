"""Compares the answers of an export with golden ones, in a process that has only TensorFlow.

It is started by its path and not as a module, so that no code of this project can help the export:

    python probe.py < TASK_JSON

The task has `export` (a folder), `golden_file` and `class_names`. The process reads it after it has
imported TensorFlow, so that it can start before there is an export. Without a task, it ends at the
end of its input, and so never outlives the process that started it.

Prints the findings as a JSON list on its last line; an empty list is a sound export.
"""

import gc
import json
import os
import sys

# Collection would traverse all of TensorFlow repeatedly, and this process ends soon anyway.
gc.disable()
# A server has neither, so the export must not need them. TensorFlow imports both if it can (Keras
# to register its optimizers, JAX for a converter to TFLite), which takes longer than TensorFlow
# itself.
for _name in ("keras", "jax"):
    sys.modules[_name] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

# Trainer used the same weights in float32. Only the order of sums differs, which oneDNN chooses by
# batch size.
_TOLERANCE = 1e-4
_SERVING_DEFAULT, _PIXELS, _IMAGE_BYTES = (
    "serving_default",
    "predict_pixels",
    "predict_image_bytes",
)


def main(export: str, golden_file: str, class_names: list[str]) -> list[str]:
    """Loads the export as TensorFlow 2 and TensorFlow 1 do, and returns the problems."""
    golden = np.load(golden_file)
    images, expected = golden["images"], golden["probabilities"]
    questions = _questions(images, tuple(golden["image_shape"]))
    findings: list[str] = []
    for loader, ask in (("TensorFlow 2", _ask), ("TensorFlow 1", _ask_as_tensorflow_1)):
        try:
            answers = ask(export, questions)
        except Exception as error:  # Whatever the loader raises, the export is what is broken.
            # The first line has the reason; the others are places in the graph.
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
        print(json.dumps(main(**json.loads(task))), flush=True)
    # All is said: to take TensorFlow and the loaded graphs apart would take most of a second.
    os._exit(0)
