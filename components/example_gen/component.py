"""ExampleGen for IDX files."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import any_pb2, wrappers_pb2
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.components.example_gen.driver import FileBasedDriver
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components import features
from components.example_gen import executor, idx


class LiteralFolderDriver(FileBasedDriver):
    """TFX's driver treats the folder of the files as a pattern; this one quotes it."""

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: Any = None,
        input_base_uri: str | None = None,
    ) -> Any:
        """Finds files in the folder with exactly this name."""
        return super().get_input_processor(splits, range_config, glob.escape(input_base_uri or ""))


class IdxExampleGen(FileBasedExampleGen):
    """Reads pairs of IDX files for training and one pair for the test.

    TFX's own fingerprint of the input covers sizes and dates. Here the digest of the content is a
    parameter, so that changed data never hits the cache.
    """

    DRIVER_CLASS = LiteralFolderDriver
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        train: Sequence[idx.IdxPair],
        test: idx.IdxPair | None,
        image_shape: tuple[int, int, int],
        class_count: int,
        validation_per_class: int,
        seed: int,
        location: str,
        data_digest: str,
    ):
        """Constructs the component.

        Args:
          train: the pairs for `train` and `val`, with distinct names.
          test: the pair for `test`; None, and no `train`, if the node has to find the files.
          image_shape: expected height, width and channels.
          class_count: number of classes.
          validation_per_class: number of examples of each class in `val`.
          seed: random seed of that choice.
          location: common folder of all files.
          data_digest: `idx.data_digest` of the files.
        """
        pairs = [_relative(pair, location) for pair in ([*train, test] if test else [])]
        parameters = {
            "pairs": [dataclasses.asdict(pair) for pair in pairs],
            "image_shape": list(image_shape),
            "class_count": class_count,
            "validation_per_class": validation_per_class,
        }
        super().__init__(
            input_base=location,
            input_config=_input_config(pairs),
            output_config=_output_config(),
            custom_config=_custom_config(parameters),
        )
        # Separate parameters, because each run of a compiled graph sets them.
        self.spec.exec_properties |= {"data_digest": data_digest, "seed": seed}


def _relative(pair: idx.IdxPair, base: str) -> idx.IdxPair:
    """The pair with paths that start from `base`."""
    images, labels = (os.path.relpath(path, base) for path in (pair.images, pair.labels))
    return dataclasses.replace(pair, images=images, labels=labels)


def _input_config(pairs: list[idx.IdxPair]) -> example_gen_pb2.Input:
    """The files for TFX's own fingerprint: exactly those that are read."""
    return example_gen_pb2.Input(
        splits=[
            example_gen_pb2.Input.Split(name=f"{pair.name}-{half}", pattern=path)
            for pair in pairs
            for half, path in (("images", pair.images), ("labels", pair.labels))
        ]
    )


def _output_config() -> example_gen_pb2.Output:
    splits = [
        example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1) for name in features.SPLITS
    ]
    return example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))


def _custom_config(parameters: dict[str, object]) -> example_gen_pb2.CustomConfig:
    packed = any_pb2.Any()
    packed.Pack(wrappers_pb2.StringValue(value=json.dumps(parameters, sort_keys=True)))
    return example_gen_pb2.CustomConfig(custom_config=packed)
