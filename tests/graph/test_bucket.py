"""A whole run whose data comes from a bucket and whose version goes to one; real data from one."""

import json

import numpy as np
import pytest
from PIL import Image

from components.example_gen import idx
from components.pusher import bucket as served_bucket
from components.pusher import versions
from pipeline.records import digests
from tests import s3
from tests.components.example_gen.test_executor import asked, run_node


@pytest.mark.slow
def test_a_run_takes_data_from_a_bucket_and_copies_its_version_to_one(
    bucket, quick_command, sample_images, tmp_path
):
    data = sample_images.first(40, 10).write(tmp_path / "data")
    bucket.upload(data, "clothes")
    out = tmp_path / "outputs"
    name = "fashion-mnist-smoke"
    # What is not for production never gets among the versions that are.
    address = f"{bucket}/served/{name}"
    arguments = (
        *("run", "--data", f"{bucket}/clothes", "--profile", "smoke", "--output-dir", out),
        *("--set", f"serving.bucket={bucket}/served", "--set", "split.validation=5"),
        *("--set", "gates.accuracy=0", "--set", "gates.class_recall=0"),
        *("--set", "training.epochs=1"),
    )
    ran = quick_command(*arguments)
    assert ran.code == 0, ran.errors
    root = out / name
    (version,) = versions.served_versions(root / "serving")
    assert served_bucket.whole_versions(address) == [version]
    assert not served_bucket.whole_versions(f"{bucket}/served")
    (receipt,) = (json.loads(path.read_text()) for path in root.glob("runs/*/receipt.json"))
    assert receipt["data"]["name"] == f"{bucket}/clothes"
    assert receipt["request"]["data"] == f"{bucket}/clothes"

    # The bucket loses its copy: a run that changes nothing brings it back.
    served_bucket.withdraw(address, version)
    again = quick_command(*arguments)
    assert again.code == 0 and "Nothing changed since run" in again.errors
    assert f"Copied the served version {version} to {address}" in again.errors
    assert served_bucket.whole_versions(address) == [version]

    there = tmp_path / "there"
    fetched = quick_command("fetch", address, there, "--json")
    assert fetched.json == {"version": version, "folder": str(there / str(version)), "is_new": True}
    assert versions.content_digest(there / str(version)) == receipt["export_digest"]

    told = [ran.output, ran.errors, again.errors]
    for path in out.rglob("*"):
        if path.is_file():
            told.append(path.read_bytes().decode(errors="replace"))
    assert not [text for text in told if s3.SECRET in text or "AKIAHUNTER2" in text]


def examples_digest(request, location, folder):
    run_node(request, location, folder)
    return digests.artifact_digest("examples", folder)


@pytest.mark.slow
@pytest.mark.real_data
def test_all_real_images_become_the_same_examples(bucket, real_data_folder, tmp_path):
    """70,000 as IDX files, and 300 as PNG files in class folders."""
    bucket.upload(real_data_folder, "idx")
    names = tuple(map(str, range(10)))
    request = asked(shape=(28, 28, 1), validation=500, class_count=10, class_names=names)
    here = examples_digest(request, real_data_folder, tmp_path / "here")
    assert examples_digest(request, f"{bucket}/idx", tmp_path / "there") == here

    images = idx.image_reader(str(real_data_folder / "t10k-images-idx3-ubyte.gz"), (28, 28, 1))
    labels, _ = idx.read_any_labels(str(real_data_folder / "t10k-labels-idx1-ubyte.gz"))
    pixels = next(iter(images.batches(300)))
    for number, (image, label) in enumerate(zip(pixels, labels, strict=False)):
        path = tmp_path / "png" / str(label) / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image).reshape(28, 28)).save(path)
    bucket.upload(tmp_path / "png", "png")
    few = asked(shape=(28, 28, 1), validation=2, class_count=10, class_names=names)
    here = examples_digest(few, tmp_path / "png", tmp_path / "here-png")
    assert examples_digest(few, f"{bucket}/png", tmp_path / "there-png") == here
