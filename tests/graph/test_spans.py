"""Data that comes in spans: a new one is judged against the served model's data before training."""

import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.slow

# Images of each class that a span brings: a third of what there is.
PER_CLASS = 40


@pytest.fixture
def deliver(few_images, tmp_path):
    """Delivers a span of new training images, the first one with test images too."""
    # Of each class, its images lie one after the other.
    places = np.arange(len(few_images.train_labels)).reshape(10, -1)
    folder = tmp_path / "spans"

    def span(number, spoil=lambda images, labels: None):
        chosen = places[:, PER_CLASS * (number - 1) : PER_CLASS * number].ravel()
        images, labels = few_images.train_images[chosen], few_images.train_labels[chosen]
        spoil(images, labels)
        content = few_images.change(train_images=images, train_labels=labels)
        copied = content.write(folder / f".span-{number}")
        for path in copied.glob("t10k-*") if number > 1 else ():
            path.unlink()
        shutil.rmtree(folder / f"span-{number}", ignore_errors=True)
        copied.rename(folder / f"span-{number}")
        return folder

    return span


def test_a_bad_span_stops_the_run_and_the_mended_one_is_pushed(
    deliver, few_images, run_graph, undemanding, digest_of, tmp_path
):
    def run(code=0):
        window = ("--set", "spans.window=2")
        return run_graph(tmp_path / "outputs", *undemanding(folder), *window, code=code)

    def spoil(images, labels):
        """The labels of a class drifted, and an image was also delivered to test on."""
        labels[labels == 0] = 1
        images[5] = few_images.test_images[3]

    deliver(1)
    folder = deliver(2)
    first = run()
    assert f"{folder} (spans 1, 2; tested on span 1)" in first.outcome.errors
    data = first.receipt["data"]
    assert (data["name"], data["spans"], data["reference_span"]) == (str(folder), [1, 2], 1)
    assert len(data["sha256"]) == 6
    served = digest_of(first.root / "serving")

    deliver(3, spoil)
    stopped = run(1)
    assert stopped.receipt["verdict"] == "stopped"
    assert stopped.receipt["data"]["spans"] == [2, 3]
    found = dict(line.split(": ", 1) for line in stopped.receipt["failure"]["message"].splitlines())
    # The image that was delivered twice may have got two labels.
    assert {"drift", "duplicates"} <= found.keys() <= {"drift", "duplicates", "conflicting_labels"}
    drift, duplicates = (f"{check}: {found[check]}" for check in ("drift", "duplicates"))
    assert drift.startswith("drift: feature label drifted")
    assert "span-3-train-00000005 = span-1-t10k-00000003" in duplicates
    assert digest_of(first.root / "serving") == served

    deliver(3)
    mended = run()
    assert (mended.receipt["verdict"], mended.receipt["data"]["spans"]) == ("pushed", [2, 3])
    assert mended.receipt["pushed_version"] > first.receipt["pushed_version"]
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        key = f"span-1/{name}"
        assert mended.receipt["data"]["sha256"][key] == data["sha256"][key]
