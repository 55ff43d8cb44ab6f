"""What the tests of DataGate share: examples in files, in no order."""

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from components import examples, features, shards
from components.data_gate import catalogue, similarity

ENGINE = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def records_of(images, labels, ids):
    return examples.serialize(
        {
            features.IMAGE: [image.tobytes() for image in images],
            features.LABEL: [int(label) for label in labels],
            features.EXAMPLE_ID: list(ids),
        }
    )


@pytest.fixture
def catalogue_of(tmp_path):
    """Writes images [N, ...] with labels and ids by split, and reads their catalogue.

    Images without rows and columns are a single row of one channel.
    """

    def write(**splits):
        for name in features.SPLITS:
            records = records_of(*splits[name]) if name in splits else []
            folder = tmp_path / f"Split-{name}"
            folder.mkdir(exist_ok=True)
            order = np.random.default_rng(len(records)).permutation(len(records))
            for number, part in enumerate(np.array_split(order, 2)):
                with tf.io.TFRecordWriter(str(folder / f"data-{number}")) as writer:
                    for place in part:
                        writer.write(records[place])
        examples.write_listing(str(tmp_path), features.SPLITS)
        shape = splits[features.TRAIN_SPLIT][0].shape[1:]
        workers = shards.Workers(lambda: beam.Pipeline(ENGINE), str(tmp_path / "shards"))
        shape = shape if len(shape) == 3 else (1, *shape, 1)
        return catalogue.read(workers, str(tmp_path), shape, similarity.SEARCHED)

    return write
