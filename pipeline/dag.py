"""The graph: what runs, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import pusher_pb2
from tfx.types import Channel, standard_artifacts

from components import features
from components.blessing.component import Blessing
from components.data_gate import checks
from components.data_gate.component import DataGate
from components.evaluator.component import AnswersEvaluator
from components.example_gen.component import IdxExampleGen
from components.image_schema import ImageSchema
from components.kubeflow.component import ServedModel
from components.predictions.component import Predictions
from components.pusher.component import VersionedPusher
from components.pusher.executor import SERVED
from components.robustness.component import Corruption
from components.schema_gen import CheckedSchemaGen
from components.serving_check.component import ServingCheck
from components.statistics_gen.component import ImageStatisticsGen
from components.trainer.component import ImageTrainer
from components.transform import ImageTransform
from components.tuner.component import ImageTuner
from pipeline import fingerprint, gates
from pipeline.config import Config, TrainingConfig
from pipeline.installation.packages import Packages
from pipeline.locations import Locations, RemoteLocations

if TYPE_CHECKING:
    from pipeline.datasets.data import DataSet, RemoteData


def create_pipeline(
    name: str,
    config: Config,
    data: DataSet | RemoteData,
    schema: ImageSchema,
    locations: Locations | RemoteLocations,
    precision: str,
    arithmetic: dict[str, Any],
    libraries: Packages,
    beam_arguments: list[str],
    served: str | None = None,
    is_served: bool = False,
    enable_cache: bool = True,
) -> tfx_pipeline.Pipeline:
    """Builds the graph.

    Args:
      name: of the pipeline; runs, metadata and served models are kept under it.
      config: the configuration of the run.
      data: the files to learn from, checked; or where a cluster's nodes find and check them.
      schema: what the schema file says, against which the files were checked.
      locations: where everything goes.
      precision: `float32` or `bfloat16`, what training computes in.
      arithmetic: what the last digits of sums depend on beside the code; empty where it is not
        known.
      libraries: of the environment that the nodes run in.
      beam_arguments: which engine the nodes' own Beam pipelines run on.
      served: `versions.identity` of what is served, which Pusher expects to find as it was; None on
        a cluster, where nobody knows it in advance.
      is_served: whether a model is known to be served, with which the new one has to be compared.
        The nodes of a cluster find out by themselves.
      enable_cache: False runs every node anew.
    """
    # What the model is held to. Evaluator measures for it, Blessing judges it.
    declared = gates.declared(config, schema.class_names)

    # The data contract comes in as an artifact of its own, from the curated file.
    schema_gen = CheckedSchemaGen(config.schema_file, data.schema_sha256).with_id("ImportSchemaGen")

    # The IDX files become examples in three splits. Where the data comes in spans, a pair is read
    # of each span of the window, and the test split is that of the reference span.
    example_gen = IdxExampleGen(
        train=data.train,
        test=data.test,
        image_shape=schema.shape,
        class_count=len(schema.class_names),
        validation_per_class=config.split.validation_per_class,
        seed=config.seed,
        location=data.location,
        data_digest=data.digest,
    ).with_id("ExampleGen")
    examples = example_gen.outputs["examples"]

    # What the data looks like, split by split.
    statistics_gen = ImageStatisticsGen(
        examples=examples, schema=schema_gen.outputs["schema"]
    ).with_id("StatisticsGen")
    statistics = statistics_gen.outputs["statistics"]

    # Where it is not what the schema says. This node only records it.
    validator = ExampleValidator(statistics=statistics, schema=schema_gen.outputs["schema"])

    # The model now served, if any. TFX's strategy takes the blessed model with the highest id;
    # before every run the served version is registered anew where it is not that one
    # (pipeline/records/baseline.py). A cluster's metadata can neither be asked nor put
    # right: there the node looks into the served folder itself.
    on_cluster = locations.metadata is None
    baseline = _served_model(str(locations.serving), schema, on_cluster).with_id("Resolver")

    # Nothing is trained on data that is not fit for it.
    data_gate = DataGate(
        examples=examples,
        statistics=statistics,
        schema=schema_gen.outputs["schema"],
        anomalies=validator.outputs["anomalies"],
        baseline_model=baseline.outputs["model"],
        severities={check: getattr(config.data_gate, check) for check in checks.CHECKS},
        max_duplicates=config.data_gate.max_duplicates,
    )

    # The one preparation of images there is, as a graph that training and serving share.
    transform = ImageTransform(examples=examples, schema=schema_gen.outputs["schema"])
    transform.add_upstream_node(data_gate)

    settings = _training_settings(config, precision, arithmetic, libraries)
    # Where it is asked for: a search for better hyperparameters than those of the settings.
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

    # The network; the export with its three endpoints.
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

    # The export must answer as the trained model does, in a process that has only TensorFlow.
    # Ahead of the Evaluator, so that a broken export is never blessed.
    serving_check = ServingCheck(model=model, schema=schema_gen.outputs["schema"])

    # Each single answer to the official test split, of the new and of the served model.
    predictions = Predictions(
        examples=examples,
        model=model,
        baseline_model=baseline.outputs["model"],
        schema=schema_gen.outputs["schema"],
    )
    predictions.add_upstream_node(serving_check)

    # What the answers are worth: overall, per class, against the gates and the served model.
    evaluator = AnswersEvaluator(
        examples=predictions.outputs["predictions"],
        model=model,
        baseline_model=baseline.outputs["model"],
        example_splits=[features.TEST_SPLIT],
        eval_config=gates.evaluation_config(declared),
    ).with_id("Evaluator")

    # Where it is asked for: the same images corrupted. What is measured on them has a node of its
    # own, so that the clean metrics stay clean.
    robustness, corrupted_evaluation = [], None
    if config.robustness.enabled:
        corruption = Corruption(
            clean_examples=examples, schema=schema_gen.outputs["schema"], seed=config.seed
        )
        corruption.add_upstream_node(data_gate)
        # Without the schema, which knows nothing of the features that TFMA slices by.
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

    # Each gate is judged once, and what was not measured never passes. Evaluator's own blessing
    # knows only of what was measured: Pusher does not read it, and where it would lead the resolver
    # of the next run astray, the served model is registered anew (pipeline/records/baseline.py).
    blessing = Blessing(
        model=model,
        baseline_model=baseline.outputs["model"],
        evaluation=evaluator.outputs["evaluation"],
        robustness_evaluation=corrupted_evaluation,
        gates=declared,
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
        custom_config=None if served is None else {SERVED: served},
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
    _mark_code(components, arithmetic, libraries)
    return tfx_pipeline.Pipeline(
        pipeline_name=name,
        pipeline_root=str(locations.artifacts),
        metadata_connection_config=None
        if on_cluster
        else metadata.sqlite_metadata_connection_config(str(locations.metadata)),
        components=components,
        enable_cache=enable_cache,
        beam_pipeline_args=beam_arguments,
    )


def _served_model(serving: str, schema: ImageSchema, on_cluster: bool) -> base_node.BaseNode:
    if on_cluster:
        return ServedModel(serving, schema)
    return resolver.Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    )


# What a node runs that its component's module does not import by itself.
_FURTHER_CODE = {
    "Tuner": ("components.tuner.search",),
    "Trainer": ("components.trainer.training",),
    "ServingCheck": ("components.serving_check.probe",),
    "Evaluator": ("components.evaluation_metrics",),
}


# Nodes whose results are sums of TensorFlow's kernels: another processor makes them anew.
_COMPUTING = ("Tuner", "Trainer", "Predictions", "Evaluator", "RobustnessEvaluator")
# The code of the nodes on whose results a training begins.
_CODE_BEFORE_TRAINING = ("components.example_gen.component", "components.transform")


def _mark_code(components: list[Any], arithmetic: dict[str, Any], libraries: Packages) -> None:
    for component in components:
        if isinstance(component, resolver.Resolver):
            continue
        modules = (type(component).__module__, *_FURTHER_CODE.get(component.id, ()))
        further = arithmetic if component.id in _COMPUTING else {}
        fingerprint.mark(component, modules, libraries, further)


# Settings that no trial of the Tuner heeds: for another value of theirs it need not search anew.
_OF_NO_TRIAL = {
    "early_stopping_patience",
    "flip_averaging",
    "plateau_factor",
    "plateau_patience",
    "shift_averaging",
    "warm_start",
}


def _trial_settings(settings: dict[str, Any], epochs: int) -> dict[str, Any]:
    defaults = TrainingConfig().model_dump(include=_OF_NO_TRIAL)
    return {**settings, **defaults, "epochs": epochs}


def _training_settings(
    config: Config, precision: str, arithmetic: dict[str, Any], libraries: Packages
) -> dict[str, Any]:
    settings = config.training.model_dump()
    modules = ("components.trainer.training", *_CODE_BEFORE_TRAINING)
    code = fingerprint.fingerprint(modules, libraries)
    identity = fingerprint.combined(code, config.split.validation_per_class, arithmetic)
    return {**settings, "precision": precision, "identity": identity}
