"""A run that is prepared, its receipt, and pipelines whose runs never ran."""

import contextlib
import datetime
import functools
import json
import resource
import shutil
import sys
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from cli.render.progress import LiveProgress
from components.image_schema import ImageSchema
from components.pusher import versions
from components.quality_gates import JudgedGate
from operations import recording, rollback
from operations.preparation import Prepared
from pipeline import config
from pipeline.locations import Locations
from pipeline.records import metadata, provenance
from tests.made_data import made_dataset, made_request
from tests.made_models import write_keras

CLASSES = ("[bold]x", "Boot")
# Tests leave the checkout as it is: git and its files are asked once.
code_of_checkout = functools.cache(provenance.code)


@pytest.fixture
def locations(tmp_path):
    return Locations(tmp_path / "outputs" / "clothes")


@pytest.fixture
def output_dir(locations):
    """The folder of all results."""
    return locations.root.parent


@pytest.fixture
def keep_receipt(locations):
    """Writes a receipt, with these changes, as that of a run of its own; returns it."""

    def write(receipt, **changes):
        receipt = receipt.changed(**changes)
        (locations.runs / receipt.run_id).mkdir(parents=True)
        receipt.write(locations.runs / receipt.run_id)
        return receipt

    return write


@pytest.fixture
def sound_versions(monkeypatch):
    """Every version passes the check of a rollback, which would load its export."""
    monkeypatch.setattr(rollback, "check_export", lambda *_: [])


@pytest.fixture
def prepared(locations):
    """A run that is about to begin; a class name of it looks like markup."""
    schema = ImageSchema(28, 28, 1, CLASSES)
    configured = config.load_config("default", ["seed=7"])
    data = made_dataset(configured, schema)
    return Prepared("clothes", configured, data, schema, locations, "float32", served_version=0)


@pytest.fixture
def request_(tmp_path):
    """What the run was asked for; `request` is pytest's own."""
    return made_request(tmp_path / "outputs")


@pytest.fixture
def progress():
    """Shows how a run goes where the test runs."""
    with contextlib.closing(LiveProgress(sys.stderr)) as shown:
        yield shown


@pytest.fixture
def receipt(prepared, request_):
    """The receipt of a run that has just begun."""
    began = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "code", code_of_checkout)
        return recording.begun("20260102-030405", 1, began, prepared, request_, "9" * 64)


@pytest.fixture
def pushed_receipt(receipt):
    """The receipt of a run that pushed a model."""
    return as_pushed(receipt)


def as_pushed(receipt):
    """A receipt as that of a run that pushed a model."""
    # As of the confusion matrix below.
    first = {"precision": 600 / 610, "recall": 0.5, "f1": 1200 / 1810, "support": 1200}
    second = {
        "precision": 10_790 / 11_390,
        "recall": 10_790 / 10_800,
        "f1": 0.9725,
        "support": 10_800,
    }
    accuracy = 11_390 / 12_000
    node = {"status": "complete", "seconds": 12.34, "code_fingerprint": "a" * 16}
    gate = JudgedGate("accuracy", "overall", accuracy, 0.8, passed=True)
    measured = {
        "accuracy": accuracy,
        "count": 12_000,
        "cross_entropy": 0.3,
        "balanced_accuracy": (0.5 + 10_790 / 10_800) / 2,
        "top_2_accuracy": 0.97,
        "confusion": [[600, 600], [10, 10_790]],
        "per_class": {CLASSES[0]: first, CLASSES[1]: second},
        "macro_avg": {**first, "support": 12_000},
        "weighted_avg": {**second, "support": 12_000},
    }
    return receipt.changed(
        status="completed",
        verdict="pushed",
        seconds=61.4,
        nodes={"Trainer": node},
        gates=[gate],
        evaluation=measured,
        model_digest="d" * 64,
        export_digest="f" * 64,
        digests={"Trainer.model": "e" * 64},
        pushed_version=17,
    )


@pytest.fixture
def full_disk():
    """A context in which no file can be made longer, as on a full disk."""

    @contextlib.contextmanager
    def limited():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


class Past:
    """A pipeline with runs that never ran: their receipts, ML Metadata, artifacts and versions.

    A model is a text, or one of the `exports`. One of the `weights` has a Keras file. A model that
    was trained before is taken from the cache with all that came with it.
    """

    OUTPUTS = (
        ("ExampleGen", "examples", "Examples"),
        ("Trainer", "model", "Model"),
        ("Evaluator", "blessing", "ModelBlessing"),
    )

    def __init__(self, locations, template):
        self.locations, self.template = locations, template
        locations.runs.mkdir(parents=True)
        self.store = metadata.open_store(locations.metadata)
        self.made, self.exports, self.weights = {}, {}, {}
        self.sequence = 0
        self.types = {
            name: self.store.put_artifact_type(mlmd.ArtifactType(name=name))
            for _, _, name in self.OUTPUTS
        }
        self.types |= {
            node: self.store.put_execution_type(mlmd.ExecutionType(name=node))
            for node, _, _ in self.OUTPUTS
        }
        self.types |= {
            name: self.store.put_context_type(mlmd.ContextType(name=name))
            for name in ("pipeline", "pipeline_run", "node")
        }

    def run(self, run_id, model, *, push=True, **changes):
        """A run that trains a model and pushes it; returns its receipt, with these changes."""
        cached = model in self.made
        self.sequence += 1
        served = versions.served_versions(self.locations.serving)
        self._make(run_id, model)
        export = self.model(model) / "Format-Serving"
        version = self._push(export) if push else None
        began = datetime.datetime.strptime(run_id, "%Y%m%d-%H%M%S").replace(tzinfo=datetime.UTC)
        status = "cached" if cached else "complete"
        ended = {"status": status, "seconds": 1.0, "code_fingerprint": None}
        made = {
            "run_id": run_id,
            "sequence": self.sequence,
            "served_before": max(served, default=None),
            "pipeline": self.locations.root.name,
            "began": began,
            "verdict": "pushed" if push else "refused",
            "nodes": {node: ended for node, _, _ in self.OUTPUTS},
            "export_digest": versions.content_digest(export),
            "pushed_version": version,
        }
        receipt = self.template.changed(**{**made, **changes})
        (self.locations.runs / run_id).mkdir()
        receipt.write(self.locations.runs / run_id)
        return receipt

    def model(self, model):
        """The folder of a model artifact."""
        return Path(self.made[model][1].uri)

    def examples(self, model):
        """The folder of the examples that came with a model."""
        return Path(self.made[model][0].uri)

    def states(self):
        """The states of all artifacts in ML Metadata, by place."""
        names = mlmd.Artifact.State.Name
        return {Path(a.uri): names(a.state) for a in self.store.get_artifacts()}

    def _push(self, export):
        served = versions.served_versions(self.locations.serving)
        newest = self.locations.serving / str(max(served, default=0))
        if served and versions.content_digest(newest) == versions.content_digest(export):
            return served[-1]
        beside = [path for path in export.parent.iterdir() if path.is_file()]
        return versions.publish(export, self.locations.serving, beside)

    def _make(self, run_id, model):
        if model not in self.made:
            number = str(len(self.made) + 1)
            root = self.locations.artifacts
            self.made[model] = [
                mlmd.Artifact(
                    type_id=self.types[type_name],
                    uri=str(root / node / key / number),
                    state=mlmd.Artifact.LIVE,
                )
                for node, key, type_name in self.OUTPUTS
            ]
            self._write(model)
        for (node, key, _), artifact in zip(self.OUTPUTS, self.made[model], strict=True):
            self._execute(run_id, node, key, artifact)
            if node == "Trainer":
                self.made[model][2].custom_properties["blessed"].int_value = 1
                self.made[model][2].custom_properties["current_model_id"].int_value = artifact.id

    def _write(self, model):
        for artifact in self.made[model]:
            Path(artifact.uri).mkdir(parents=True)
        (self.examples(model) / "data").write_bytes(bytes(50_000))
        (self.model(model) / "golden.npz").write_text(f"questions for {model}")
        export = self.model(model) / "Format-Serving"
        (export / "assets.extra").mkdir(parents=True)
        (export / "saved_model.pb").write_text(model)
        description = {"image_shape": [28, 28, 1], "class_names": list(CLASSES)}
        (export / "assets.extra" / "image_schema.json").write_text(json.dumps(description))
        if model in self.weights:
            write_keras(self.model(model), kernel=self.weights[model])
        if model in self.exports:
            shutil.copytree(self.exports[model], export, dirs_exist_ok=True)

    def _execute(self, run_id, node, key, artifact):
        name = self.locations.root.name
        contexts = (("pipeline", name), ("pipeline_run", run_id), ("node", f"{name}.{node}"))
        execution = mlmd.Execution(
            type_id=self.types[node], last_known_state=mlmd.Execution.COMPLETE
        )
        event = mlmd.Event(type=mlmd.Event.OUTPUT)
        event.path.steps.add().key = key
        event.path.steps.add().index = 0
        _, (artifact.id,), _ = self.store.put_execution(
            execution, [(artifact, event)], [self._context(*context) for context in contexts]
        )

    def _context(self, type_name, name):
        known = self.store.get_context_by_type_and_name(type_name, name)
        return known or mlmd.Context(type_id=self.types[type_name], name=name)


@pytest.fixture
def past(locations, pushed_receipt):
    """A pipeline whose runs are made up by the test."""
    return Past(locations, pushed_receipt)
