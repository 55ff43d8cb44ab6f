"""Computes statistics with TFDV's generators, shard by shard in Beam."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
from apache_beam import coders
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.components.statistics_gen import executor as statistics_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils

from components import examples, image_schema
from components import shards as shards_of_examples

# Imported after TFX, which provides a module that TFDV needs.
import tensorflow_data_validation as tfdv  # isort: skip
from tensorflow_data_validation.statistics import stats_impl  # isort: skip

_BATCH_SIZE = 2048
# Folder of the accumulators of all shards, until they are merged.
_ACCUMULATORS = "accumulators"
# As Beam would pass them on.
_CODER = coders.PickleCoder()

# What TFDV's generators have counted so far, one for each of them.
Accumulators = list[Any]


class Executor(statistics_executor.Executor):
    """Writes what TFX's executor writes, without a shuffle, in bounded memory.

    TFX gives every few hundred examples to Beam under a key of their own. Here a worker counts a
    whole shard, and the node merges the accumulators of all shards in their order.

    Sketches of a fixed size count how often each value occurs, as TFDV does in memory: exact for up
    to 1,024 different values. Images and ids, which all differ, are not counted.
    """

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the statistics of each split of the examples."""
        self._log_startup(input_dict, output_dict, exec_properties)
        source = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.EXAMPLES_KEY]
        )
        statistics = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.STATISTICS_KEY]
        )
        schema = _read_schema(input_dict[standard_component_specs.SCHEMA_KEY])
        names = artifact_utils.decode_split_names(source.split_names)
        _describe(statistics, source, names)
        by_split = {name: shards_of_examples.divided(source.uri, name) for name in names}
        shards = [shard for each in by_split.values() for shard in each]
        workers = shards_of_examples.Workers(
            self._make_beam_pipeline, os.path.join(statistics.uri, _ACCUMULATORS)
        )
        with workers.made(shards, functools.partial(_count, schema=schema)) as paths:
            files = iter(paths)
            for name, each in by_split.items():
                computed = _merged([next(files) for _ in each], schema)
                folder = artifact_utils.get_split_uri([statistics], name)
                path = os.path.join(folder, statistics_executor.DEFAULT_FILE_NAME)
                io_utils.write_bytes_file(path, computed.SerializeToString())


def _read_schema(artifacts: list[Artifact]) -> schema_pb2.Schema:
    path = os.path.join(artifact_utils.get_single_uri(artifacts), image_schema.SCHEMA_FILE)
    return io_utils.parse_pbtxt_file(path, schema_pb2.Schema())


def _describe(statistics: Artifact, source: Artifact, names: list[str]) -> None:
    """Sets the same properties as TFX."""
    statistics.split_names = source.split_names
    statistics.span = source.span
    statistics.set_string_custom_property(statistics_executor.STATS_DASHBOARD_LINK, "")
    statistics.set_json_value_custom_property(
        statistics_executor.SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME,
        json_utils.dumps(dict.fromkeys(names, 1.0)),
    )


def _count(shard: shards_of_examples.Shard, file: BinaryIO, schema: schema_pb2.Schema) -> None:
    """Writes the accumulators of a shard, of which one batch is in memory at a time."""
    batches = examples.record_batches(shard.batches(_BATCH_SIZE))
    file.write(_CODER.encode(_accumulated(batches, _generators(schema))))


def _merged(
    paths: Sequence[str], schema: schema_pb2.Schema
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Merges the accumulators of all shards of a split, one after the other."""
    generators = _generators(schema)
    total = [generator.create_accumulator() for generator in generators]
    for path in paths:
        with fileio.open(path, "rb") as file:
            further = _CODER.decode(file.read())
        total = [
            generator.merge_accumulators([one, other])
            for generator, one, other in zip(generators, total, further, strict=True)
        ]
    return stats_impl.extract_statistics_output(total, generators)


def _generators(schema: schema_pb2.Schema) -> list[Any]:
    """TFDV's generators.

    Args:
      schema: tells which numbers are categories. Values of bytes are only counted if the schema
        gives them a domain.
    """
    options = tfdv.StatsOptions(schema=_without_categories_of_bytes(schema))
    generators = stats_impl.get_generators(options, in_memory=True)
    for generator in generators:
        generator.setup()
    return generators


def _accumulated(batches: Iterable[pa.RecordBatch], generators: Sequence[Any]) -> Accumulators:
    """What the generators count in examples, a list of values per example and feature."""
    counted = [generator.create_accumulator() for generator in generators]
    for batch in batches:
        counted = [
            generator.add_input(so_far, batch)
            for generator, so_far in zip(generators, counted, strict=True)
        ]
    return counted


def _without_categories_of_bytes(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """A copy in which bytes without a domain, such as images and ids, are no categories.

    With more values than a sketch keeps, its counts are wrong and differ between processes.
    """
    changed = schema_pb2.Schema()
    changed.CopyFrom(schema)
    for feature in changed.feature:
        if feature.type == schema_pb2.BYTES and feature.WhichOneof("domain_info") is None:
            feature.string_domain.is_categorical = schema_pb2.StringDomain.CATEGORICAL_NO
    return changed
