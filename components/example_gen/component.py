"""ExampleGen for IDX files."""

from __future__ import annotations

import dataclasses
import json
import os

from google.protobuf import any_pb2, wrappers_pb2
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components import features
from components.example_gen import executor, idx


class IdxExampleGen(FileBasedExampleGen):
    """Reads a pair of IDX files to train on and one to test on.

    TFX's own fingerprint of the input is its size and its dates. The pairs carry the SHA-256 of
    what the files hold, so that changed data is never taken for the cached.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        train: idx.IdxPair,
        test: idx.IdxPair,
        image_shape: tuple[int, int, int],
        class_count: int,
        validation_per_class: int,
        seed: int,
    ):
        """Constructs the component.

        Args:
          train: the files that `train` and `val` are drawn from.
          test: the files of the official test split.
          image_shape: height, width and channels, against which the files are checked.
          class_count: number of classes, against which the labels are checked.
          validation_per_class: examples of each class that go to `val`.
          seed: chooses which.
        """
        parameters = {
            "pairs": [dataclasses.asdict(train), dataclasses.asdict(test)],
            "test_pair": test.name,
            "image_shape": list(image_shape),
            "class_count": class_count,
            "validation_per_class": validation_per_class,
            "seed": seed,
        }
        super().__init__(
            input_base=os.path.dirname(train.images),
            input_config=_input_config(),
            output_config=_output_config(),
            custom_config=_custom_config(parameters),
        )


def _input_config() -> example_gen_pb2.Input:
    # TFX looks at these files for its own fingerprint; which files are read stands in the pairs.
    return example_gen_pb2.Input(
        splits=[example_gen_pb2.Input.Split(name="idx", pattern="*-ubyte*")]
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
