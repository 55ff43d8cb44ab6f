"""What the tests of DataGate share: examples in files, in no order."""

import numpy as np
import pytest
import tensorflow as tf

from components import examples, features
from components.data_gate import catalogue


@pytest.fixture
def catalogue_of(tmp_path):
    """Writes images [N, bytes] with labels and ids by split, and reads their catalogue."""

    def write(**splits):
        for name in features.SPLITS:
            images, labels, ids = splits.get(name, (np.empty((0, 4), np.uint8), [], []))
            records = examples.serialize(
                {
                    features.IMAGE: [image.tobytes() for image in images],
                    features.LABEL: [int(label) for label in labels],
                    features.EXAMPLE_ID: list(ids),
                }
            )
            folder = tmp_path / f"Split-{name}"
            folder.mkdir()
            order = np.random.default_rng(len(records)).permutation(len(records))
            for number, part in enumerate(np.array_split(order, 2)):
                with tf.io.TFRecordWriter(str(folder / f"data-{number}")) as writer:
                    for place in part:
                        writer.write(records[place])
        return catalogue.read(str(tmp_path))

    return write
