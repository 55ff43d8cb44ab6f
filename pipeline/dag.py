"""The graph: all nodes, their parameters and their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import pusher_pb2
from tfx.types import Channel, standard_artifacts

from components import features
from components.blessing.component import Blessing
from components.data_form import OF_PIXELS
from components.data_gate import checks
from components.data_gate.component import DataGate
from components.evaluator.component import AnswersEvaluator
from components.example_gen.component import ImageExampleGen
from components.image_schema import ImageSchema
from components.images import Preparation
from components.kubeflow.component import ServedModel
from components.predictions.component import Predictions
from components.pusher.component import VersionedPusher
from components.pusher.executor import BUCKET, LOCKED, SERVED, WITHDRAWN
from components.robustness.component import Corruption
from components.schema_gen import CheckedSchemaGen
from components.serving_check.component import ServingCheck
from components.statistics_gen.component import ImageStatisticsGen
from components.trainer.component import ImageTrainer
from components.transform import ImageTransform
from components.tuner.component import ImageTuner
from pipeline import fingerprint, gates, store_connection
from pipeline.config import Config, TrainingConfig, serving_bucket
from pipeline.installation.packages import Packages
from pipeline.locations import Locations, RemoteLocations
from pipeline.machine import Arithmetic

if TYPE_CHECKING:
    from pipeline.datasets.dataset import DataSet, RemoteData


def create_pipeline(
    name: str,
    config: Config,
    data: DataSet | RemoteData,
    schema: ImageSchema,
    locations: Locations | RemoteLocations,
    precision: str,
    arithmetic: Arithmetic | None,
    libraries: Packages,
    beam_arguments: list[str],
    served: str | None = None,
    is_served: bool = False,
    withdrawn: Mapping[str, str] | None = None,
    enable_cache: bool = True,
    final_node: Callable[[list[base_node.BaseNode]], base_node.BaseNode] | None = None,
) -> tfx_pipeline.Pipeline:
    """Builds the graph.

    Args:
      name: Name of the pipeline.
      config: Configuration of the run.
      data: Checked data files, or the location where the nodes of a cluster check them.
      schema: Content of the schema file.
      locations: Folders and files of the pipeline.
      precision: Precision of the training, `float32` or `bfloat16`.
      arithmetic: Arithmetic of the machine that computes; None if unknown.
      libraries: Libraries of the environment that the nodes run in.
      beam_arguments: Arguments for the Beam pipelines of the nodes.
      served: `versions.identity` of the served model. Pusher refuses to push if it has changed by
        then. None on a cluster, where it is unknown before the run.
      is_served: Whether a served model exists, so that the new one has to be compared with it.
        On a cluster, the nodes find out themselves; here it says that they have to find one.
      withdrawn: Models that Pusher must not publish, as they were rolled back: for the digest of
        each, what happened, in words. None on a cluster, where Pusher reads what was rolled back.
      enable_cache: Whether unchanged nodes reuse earlier results.
      final_node: Makes a node that runs after all others, from these.
    """
    # The quality gates. Evaluator measures the metrics, Blessing decides.
    declared = gates.declared(config, schema.class_names)
    slicings = config.gates.slicings()
    columns = [slicing.column for slicing in slicings]

    # The data contract is an artifact, imported from the schema file.
    schema_gen = CheckedSchemaGen(config.schema_file, data.schema_sha256).with_id("ImportSchemaGen")

    # Labelled images of any form become examples in three splits. If the data has spans, the node
    # reads the training images of each span in the window, and the test images of the reference.
    example_gen = ImageExampleGen(
        data.request, location=data.location, data_digest=data.digest, seed=config.seed
    ).with_id("ExampleGen")
    examples = example_gen.outputs["examples"]

    # Statistics of the data, per split.
    statistics_gen = ImageStatisticsGen(
        examples=examples, schema=schema_gen.outputs["schema"]
    ).with_id("StatisticsGen")
    statistics = statistics_gen.outputs["statistics"]

    # Deviations from the schema. This node only records them; DataGate decides.
    validator = ExampleValidator(statistics=statistics, schema=schema_gen.outputs["schema"])

    # A cluster manages its metadata itself.
    store = locations.metadata and (config.metadata.address or locations.metadata)
    connection = store_connection.connection(store) if store else None
    on_cluster = connection is None

    # The served model, if any. TFX's strategy takes the blessed model with the highest id. If this
    # is not the served one, it is registered again before the run (pipeline/records/baseline.py).
    # The metadata of a cluster can be neither queried nor corrected, so the node reads the served
    # folder there.
    prepared = None if config.data.form in OF_PIXELS else data.request.preparation
    baseline = _served_model(str(locations.serving), schema, prepared, on_cluster).with_id(
        "Resolver"
    )

    # Bad data stops the run before the training.
    data_gate = DataGate(
        examples=examples,
        statistics=statistics,
        schema=schema_gen.outputs["schema"],
        anomalies=validator.outputs["anomalies"],
        baseline_model=baseline.outputs["model"],
        severities={check: getattr(config.data_gate, check) for check in checks.CHECKS},
        max_duplicates=config.data_gate.max_duplicates,
        min_images={slicing.column: slicing.wanted_images for slicing in slicings},
    )

    # Image preprocessing, as a graph that training and serving share.
    transform = ImageTransform(examples=examples, schema=schema_gen.outputs["schema"])
    transform.add_upstream_node(data_gate)

    sources = fingerprint.Sources(libraries)
    settings = _training_settings(config, precision, arithmetic, sources)
    # Optional: a search for better hyperparameters.
    tuner = None
    if config.tuner.enabled:
        tuner = ImageTuner(
            examples=examples,
            transform_graph=transform.outputs["transform_graph"],
            schema=schema_gen.outputs["schema"],
            settings=_trial_settings(settings, config.tuner.epochs),
            bounds=config.tuner.model_dump(exclude={"enabled", "epochs"}),
            seed=config.seed,
            data_digest=data.digest,
        ).with_id("Tuner")

    # Training, and the export with its three endpoints.
    trainer = ImageTrainer(
        examples=examples,
        transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        statistics=statistics,
        base_model=baseline.outputs["model"] if config.training.warm_start else None,
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        settings=settings,
        seed=config.seed,
        data_digest=data.digest,
    ).with_id("Trainer")
    model = trainer.outputs["model"]

    # The export must give the same predictions as the trained model, in a process that imports only
    # TensorFlow. This runs before Evaluator, so that a broken export is never blessed.
    serving_check = ServingCheck(model=model, schema=schema_gen.outputs["schema"])

    # Predictions of the new and the served model for every image of the test split.
    predictions = Predictions(
        examples=examples,
        model=model,
        baseline_model=baseline.outputs["model"],
        schema=schema_gen.outputs["schema"],
        columns=columns,
    )
    predictions.add_upstream_node(serving_check)

    # Metrics of these predictions: overall, per class, per value of the columns that divide them
    # into slices, and compared with the served model.
    evaluator = AnswersEvaluator(
        examples=predictions.outputs["predictions"],
        model=model,
        baseline_model=baseline.outputs["model"],
        example_splits=[features.TEST_SPLIT],
        eval_config=gates.evaluation_config(declared, columns),
    ).with_id("Evaluator")

    # Optional: accuracy on corrupted test images. A separate node measures it, so that these images
    # do not count in the metrics of the clean ones.
    robustness, corrupted_evaluation = [], None
    if config.robustness.enabled:
        corruption = Corruption(
            clean_examples=examples, schema=schema_gen.outputs["schema"], seed=config.seed
        )
        corruption.add_upstream_node(data_gate)
        # No schema: it lacks the features for the slices of TFMA.
        robustness_evaluator = Evaluator(
            examples=corruption.outputs["examples"],
            model=model,
            example_splits=[features.TEST_SPLIT],
            eval_config=gates.robustness_evaluation_config(declared),
        ).with_id("RobustnessEvaluator")
        robustness_evaluator.add_upstream_node(evaluator)
        robustness = [corruption, robustness_evaluator]
        if config.robustness.thresholds():
            corrupted_evaluation = robustness_evaluator.outputs["evaluation"]

    # Each gate is checked once, and a gate without a measurement fails. Evaluator's own blessing
    # covers only measured gates, so Pusher does not read it. If it would mislead the resolver of
    # the next run, the served model is registered again (pipeline/records/baseline.py).
    blessing = Blessing(
        model=model,
        baseline_model=baseline.outputs["model"],
        evaluation=evaluator.outputs["evaluation"],
        robustness_evaluation=corrupted_evaluation,
        gates=declared,
        slicings=slicings,
        is_served=is_served,
    )
    for node in robustness:
        blessing.add_upstream_node(node)

    # A blessed model becomes a served version.
    pusher = VersionedPusher(
        model=model,
        model_blessing=blessing.outputs["blessing"],
        infra_blessing=serving_check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(locations.serving))
        ),
        custom_config=_pusher_config(served, withdrawn, config, name),
    ).with_id("Pusher")

    components = [
        schema_gen,
        example_gen,
        statistics_gen,
        validator,
        baseline,
        data_gate,
        transform.with_id("Transform"),
        *([tuner] if tuner else []),
        trainer,
        serving_check,
        predictions,
        evaluator,
        *robustness,
        blessing,
        pusher,
    ]
    _mark_code(components, arithmetic, sources)
    if final_node:
        components.append(final_node(components))
    return tfx_pipeline.Pipeline(
        pipeline_name=name,
        pipeline_root=str(locations.artifacts),
        metadata_connection_config=connection,
        components=components,
        enable_cache=enable_cache,
        beam_pipeline_args=beam_arguments,
    )


def _served_model(
    serving: str, schema: ImageSchema, prepared: Preparation | None, on_cluster: bool
) -> base_node.BaseNode:
    if on_cluster:
        return ServedModel(serving, schema, prepared)
    return resolver.Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    )


# Modules that a node runs and that the module of its component does not import.
_FURTHER_CODE = {
    "Tuner": ("components.tuner.search",),
    "Trainer": ("components.trainer.training",),
    "ServingCheck": ("components.serving_check.probe",),
    "Evaluator": ("components.evaluation_metrics",),
}


# Nodes with results that depend on the processor, since TensorFlow's kernels round differently.
_COMPUTING = ("Tuner", "Trainer", "Predictions", "Evaluator", "RobustnessEvaluator")
# Code of the nodes before the training that change its input.
_CODE_BEFORE_TRAINING = ("components.example_gen.component", "components.transform")


def _pusher_config(
    served: str | None, withdrawn: Mapping[str, str] | None, config: Config, name: str
) -> dict[str, Any] | None:
    """What Pusher checks before it publishes, and where it copies a version to."""
    given = {
        # On a cluster, nothing is known of it before the run, and nobody holds a lock.
        SERVED: served,
        LOCKED: None if served is None else True,
        WITHDRAWN: withdrawn or None,
        BUCKET: serving_bucket(config, name),
    }
    return {key: value for key, value in given.items() if value is not None} or None


def _mark_code(
    components: list[Any], arithmetic: Arithmetic | None, sources: fingerprint.Sources
) -> None:
    for component in components:
        if isinstance(component, resolver.Resolver):
            continue
        modules = (type(component).__module__, *_FURTHER_CODE.get(component.id, ()))
        further = _parts(arithmetic) if component.id in _COMPUTING else {}
        sources.mark(component, modules, further)


def _parts(arithmetic: Arithmetic | None) -> dict[str, Any]:
    return dataclasses.asdict(arithmetic) if arithmetic else {}


# Settings that trials of Tuner ignore, so that a change does not repeat the search.
_IGNORED_BY_TRIALS = {
    "early_stopping_patience",
    "flip_averaging",
    "plateau_factor",
    "plateau_patience",
    "shift_averaging",
    "warm_start",
}


def _trial_settings(settings: dict[str, Any], epochs: int) -> dict[str, Any]:
    defaults = TrainingConfig().model_dump(include=_IGNORED_BY_TRIALS)
    return {**settings, **defaults, "epochs": epochs, "minutes": None}


def _training_settings(
    config: Config, precision: str, arithmetic: Arithmetic | None, sources: fingerprint.Sources
) -> dict[str, Any]:
    settings = config.training.model_dump()
    modules = ("components.trainer.training", *_CODE_BEFORE_TRAINING)
    code = sources.fingerprint(modules)
    # What the training images are, beside the data.
    read = [section.model_dump() for section in (config.data, config.images, config.split)]
    identity = fingerprint.combined(code, read, _parts(arithmetic))
    return {
        **settings,
        "precision": precision,
        "identity": identity,
        "background": config.images.background,
    }
