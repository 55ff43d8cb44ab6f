"""Data as the preparation describes it, for graphs and records of data that does not exist."""

import dataclasses

from components import features
from pipeline.datasets.dataset import DataSet, RemoteData
from pipeline.datasets.reading import WHOLE, asked_of


def made_dataset(config, schema, **changes):
    """IDX files of the schema's images and classes."""
    count = len(schema.class_names)
    # Such labels are numbers.
    request = dataclasses.replace(asked_of(config, schema, [WHOLE]), class_names=())
    counts = {
        features.TRAIN_SPLIT: (5500,) * count,
        features.VALIDATION_SPLIT: (500,) * count,
        features.TEST_SPLIT: (1000,) * count,
    }
    return DataSet(
        **{
            "name": "/data",
            "sample": False,
            "location": "/data",
            "request": request,
            "digest": "d" * 64,
            "sha256s": {
                f"{half}-{content}": letter * 64
                for half in ("train", "t10k")
                for content, letter in (("images-idx3-ubyte", "a"), ("labels-idx1-ubyte", "b"))
            },
            "schema_sha256": "c" * 64,
            "form": "IDX",
            "summary": "IDX files",
            "ignored": (),
            "counts": counts,
            **changes,
        }
    )


def made_remote_data(config, schema):
    """Data on the volume of a cluster."""
    request = asked_of(config, schema, [WHOLE])
    return RemoteData("/mnt/data", "digest of the data", "the schema's content", request)
