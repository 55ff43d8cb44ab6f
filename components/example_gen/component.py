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
    """TFX's driver, which takes the folder of the files for a pattern, given a quoted one."""

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: Any = None,
        input_base_uri: str | None = None,
    ) -> Any:
        """Looks at files in the folder of this very name."""
        return super().get_input_processor(splits, range_config, glob.escape(input_base_uri or ""))


class IdxExampleGen(FileBasedExampleGen):
    """Reads pairs of IDX files to train on and one pair to test on.

    TFX's own fingerprint of the input is its size and its dates. The digest of what the files hold
    is a parameter, so that changed data is never taken for the cached.
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
          train: the files that `train` and `val` are drawn from, by names that differ.
          test: the files of the test split; None, and no `train`, where the node finds the files.
          image_shape: height, width and channels, against which the files are checked.
          class_count: number of classes, against which the labels are checked.
          validation_per_class: examples of each class that go to `val`.
          seed: chooses which.
          location: the folder that the files lie in or below.
          data_digest: `idx.data_digest` of the files.
        """
        pairs = [_relative(pair, location) for pair in ([*train, test] if test else [])]
        parameters = {
            "pairs": pairs,
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
        # Parameters of their own, since a compiled graph takes them anew with each run.
        self.spec.exec_properties |= {"data_digest": data_digest, "seed": seed}


def _relative(pair: idx.IdxPair, base: str) -> dict[str, Any]:
    """The pair as plain values, with paths that start from `base`."""
    images, labels = (os.path.relpath(path, base) for path in (pair.images, pair.labels))
    return dataclasses.asdict(dataclasses.replace(pair, images=images, labels=labels))


def _input_config(pairs: list[dict[str, Any]]) -> example_gen_pb2.Input:
    """The files that TFX looks at for its own fingerprint: those that are read and no others."""
    return example_gen_pb2.Input(
        splits=[
            example_gen_pb2.Input.Split(name=f"{pair['name']}-{half}", pattern=pair[half])
            for pair in pairs
            for half in ("images", "labels")
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
