"""The same task as stock TFX solves it: the nodes of TFX's own examples, one by one, in its loop.

TFX is installed with these examples: `tfx/examples/mnist/mnist_pipeline_native_keras.py` ("MNIST")
and `tfx/examples/penguin/penguin_pipeline_local.py` ("penguin"). Each node below says which of them
it is written after. Both halves of the data come in as splits of their own, `train` and `eval`, the
names that TFX's components expect.

Where the examples leave a choice, the one that is cheaper was taken: an image enters as its bytes,
not as 784 floats. Beam gets no arguments, any of which would make TFX pack its own source for each
component, and takes its engine in this process at once, without looking for another on the network.
"""

from __future__ import annotations

import os
import pathlib
from typing import Annotated, Any

# What TensorFlow Transform sets by itself, were it not set: TFX's examples train in Keras 2.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow_model_analysis as tfma  # noqa: F401  as penguin, ahead of TFX
import typer
from tensorflow_model_analysis.proto import config_pb2
from tfx import v1 as tfx
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec

from benchmarks import idx_files
from benchmarks.stock import example_gen as stock_example_gen
from components.trainer.settings import whitening_filters
from pipeline import config as configurations
from pipeline.runners import engine

METADATA_FILE = "metadata.db"
_MODULE_FILE = str(pathlib.Path(__file__).with_name("stock") / "image_module.py")
# Which files make up which split.
_HALVES = {"train": idx_files.TRAIN, "eval": idx_files.TEST}


def main(
    data: Annotated[pathlib.Path, typer.Option(help="Folder of the four IDX files.")],
    output_dir: Annotated[pathlib.Path, typer.Option(help="Folder for all results.")],
    profile: Annotated[
        str, typer.Option(help="Profile with the widths, whitening, dropout and epochs.")
    ] = "default",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a configuration key, as with `run --set`."
        ),
    ] = None,
) -> None:
    """Run stock TFX on IDX files."""
    config = configurations.load_config(profile, assignments or ())
    pipeline = create_pipeline(data.resolve(), output_dir.resolve(), config)
    with engine.default_engine():
        tfx.orchestration.LocalDagRunner().run(pipeline)


def create_pipeline(
    data: pathlib.Path, output_dir: pathlib.Path, config: configurations.Config
) -> tfx.dsl.Pipeline:
    """Builds the graph.

    Args:
      data: folder of the four IDX files.
      output_dir: of artifacts, metadata and the served model.
      config: what is trained.
    """
    images, labels = idx_files.paths(data, idx_files.TRAIN)
    settings = _settings(idx_files.shape(images), int(idx_files.read(labels).max()) + 1, config)
    train_steps, eval_steps = (
        idx_files.shape(idx_files.paths(data, half)[1])[0] // config.training.batch_size
        for half in _HALVES.values()
    )

    # penguin: a file-based ExampleGen. Its executor is TFX's for CSV with IDX in its place.
    example_gen = FileBasedExampleGen(
        input_base=str(data),
        input_config=_two_splits(),
        custom_executor_spec=executor_spec.BeamExecutorSpec(stock_example_gen.Executor),
    ).with_id("ExampleGen")
    examples = example_gen.outputs["examples"]

    # MNIST, penguin.
    statistics_gen = tfx.components.StatisticsGen(examples=examples)
    statistics = statistics_gen.outputs["statistics"]

    # MNIST.
    schema_gen = tfx.components.SchemaGen(statistics=statistics, infer_feature_shape=True)
    schema = schema_gen.outputs["schema"]

    # MNIST.
    example_validator = tfx.components.ExampleValidator(statistics=statistics, schema=schema)

    # MNIST: with statistics before and after, materialised.
    transform = tfx.components.Transform(
        examples=examples, schema=schema, module_file=_MODULE_FILE, custom_config=settings
    )

    # MNIST, penguin.
    trainer = tfx.components.Trainer(
        module_file=_MODULE_FILE,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        train_args=tfx.proto.TrainArgs(num_steps=train_steps),
        eval_args=tfx.proto.EvalArgs(num_steps=eval_steps),
        custom_config=settings,
    )
    model = trainer.outputs["model"]

    # penguin.
    model_resolver = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("Resolver")

    # penguin, with a slice for each class.
    evaluator = tfx.components.Evaluator(
        examples=examples,
        model=model,
        baseline_model=model_resolver.outputs["model"],
        eval_config=evaluation_config(),
    )

    # MNIST.
    pusher = tfx.components.Pusher(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(
                base_directory=str(output_dir / "serving")
            )
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(output_dir / "artifacts"),
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            example_validator,
            transform,
            trainer,
            model_resolver,
            evaluator,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(output_dir / METADATA_FILE)
        ),
    )


def evaluation_config() -> config_pb2.EvalConfig:
    """One metric, overall and for each class, with gates that every model passes."""
    accuracy = config_pb2.MetricConfig(
        class_name="SparseCategoricalAccuracy",
        threshold=config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": 0.0}),
            change_threshold=config_pb2.GenericChangeThreshold(
                direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
                absolute={"value": -1.0},
            ),
        ),
    )
    label = stock_example_gen.LABEL
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(signature_name="serving_default", label_key=label)],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=[label])],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[accuracy])],
    )


def _two_splits() -> tfx.proto.Input:
    return tfx.proto.Input(
        splits=[
            tfx.proto.Input.Split(name=name, pattern=f"{half}-*-ubyte*")
            for name, half in _HALVES.items()
        ]
    )


def _settings(
    shape: tuple[int, ...], class_count: int, config: configurations.Config
) -> dict[str, Any]:
    _, height, width, *channels = shape
    training = config.training
    channel_count = channels[0] if channels else 1
    return {
        "image_shape": [height, width, channel_count],
        "class_count": class_count,
        "widths": list(training.widths),
        "dropout": training.dropout,
        "whitening_filters": (
            whitening_filters(training.widths, channel_count) if training.whitening else 0
        ),
        "epochs": training.epochs,
        "batch_size": training.batch_size,
    }


if __name__ == "__main__":
    typer.run(main)
