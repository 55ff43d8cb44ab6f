"""The plain loop writes an example for each file, with the pixels that are in it."""

import numpy as np
import tensorflow as tf

from benchmarks import idx_files, ingest, made_images
from components.examples import parse


def records(folder):
    paths = sorted(map(str, folder.glob("loop-*")))
    assert len(paths) == 2
    return parse(tf.constant(list(tf.data.TFRecordDataset(paths).as_numpy_iterator())))


def test_the_loop_writes_the_pixels_of_small_files(inputs, folder_of_images, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for half in made_images.halves(folder_of_images, inputs.schema.class_names, None, 1):
        made_images.write_class_folders(folder, half)
    files = ingest.Files(ingest.SMALL_FILES, folder, tmp_path / "schema.pbtxt", (28, 28, 1))
    assert ingest.measure_loop(files, str(tmp_path))["seconds"] > 0
    written = {image.tobytes() for image in records(tmp_path).images}
    expected = [
        image
        for half in (idx_files.TRAIN, idx_files.TEST)
        for image in idx_files.read_pair(folder_of_images, half)[0]
    ]
    assert written == {image.tobytes() for image in expected}
    assert len(records(tmp_path).ids) == len(expected)


def test_the_loop_fits_photographs(tmp_path):
    folder = tmp_path / "files"
    made_images.write_photographs(folder, 12, 1)
    files = ingest.Files(ingest.PHOTOGRAPHS, folder, tmp_path / "schema.pbtxt", (20, 30, 3))
    ingest.measure_loop(files, str(tmp_path))
    found = records(tmp_path)
    assert found.images.shape == (12, 20 * 30 * 3)
    assert np.bincount(found.labels).tolist() == [2, 3, 3, 2, 2]
    assert len(set(found.ids)) == 12
