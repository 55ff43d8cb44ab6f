"""Data as the preparation describes it, for graphs and records of data that does not exist."""

import dataclasses

from components import features
from operations.preparation import Request
from pipeline.datasets.dataset import DataSet, Holding, RemoteData
from pipeline.datasets.reading import WHOLE, asked_of


def made_request(output_dir):
    """What a run is asked for by a command without options, except for a seed."""
    return Request(
        profile=None,
        data="auto",
        runner="local",
        assignments=("seed=7",),
        seed=None,
        use_cache=True,
        force=False,
        output_dir=output_dir,
        new_line=False,
        verbose=False,
        command="python3 pipeline_runner.py run",
    )


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
            "holdings": (Holding(None, 70_000, b"a digest", frozenset(["images"])),),
            **changes,
        }
    )


def made_remote_data(config, schema):
    """Data on the volume of a cluster."""
    request = asked_of(config, schema, [WHOLE])
    return RemoteData("/mnt/data", "digest of the data", "the schema's content", request)
