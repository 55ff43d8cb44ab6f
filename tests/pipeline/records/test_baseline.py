"""The resolver must compare with the model that is served, whatever came to be in between."""

import json
import re
import shutil

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.dsl.compiler.compiler import Compiler
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.metadata import Metadata
from tfx.orchestration.portable import inputs_utils
from tfx.types import Channel, standard_artifacts

from components.pusher import versions
from pipeline.database import binding
from pipeline.database.address import parse
from pipeline.errors import BaselineError, ServedModelError
from pipeline.records import baseline, metadata
from pipeline.runners import inputs
from pipeline.store_connection import connection

DESCRIPTION = json.dumps({"image_shape": [28, 28, 1], "class_names": ["Shirt", "Boot"]})
TAKEN_BACK = "there is no model to compare with: earlier blessings no longer count"


@pytest.fixture
def store(locations):
    locations.root.mkdir(parents=True)
    return metadata.open_store(locations.metadata)


@pytest.fixture
def pipeline(store, locations):
    return Pipeline(store, locations)


class Pipeline:
    """Does to ML Metadata and to the served folder what runs of the graph do."""

    def __init__(self, store, locations):
        self.store, self.locations, self.runs = store, locations, 0
        self.types = {
            name: store.put_artifact_type(mlmd.ArtifactType(name=name))
            for name in ("Model", "ModelBlessing")
        }
        type_id = store.put_context_type(mlmd.ContextType(name="pipeline"))
        (self.context,) = store.put_contexts([mlmd.Context(type_id=type_id, name="clothes")])

    def train(self, weights, blessed=True):
        """Trains and evaluates a model; returns its folder."""
        folder = self.locations.artifacts / "Trainer" / "model" / weights
        if not folder.exists():
            export = folder / "Format-Serving"
            (export / "assets.extra").mkdir(parents=True)
            (export / "saved_model.pb").write_text(weights)
            (export / "assets.extra" / "image_schema.json").write_text(DESCRIPTION)
            (folder / "statistics").write_text(f"statistics of {weights}")
            model = mlmd.Artifact(
                type_id=self.types["Model"], uri=str(folder), state=mlmd.Artifact.LIVE
            )
            self._put(model)
            self._bless(model, blessed)
        return folder

    def push(self, folder):
        export = folder / "Format-Serving"
        return versions.publish(export, self.locations.serving, [folder / "statistics"])

    def register(self):
        return baseline.register_served(self.store, "clothes", self.locations)

    def resolved(self):
        """The folder of the model that TFX's resolver takes in a run; None where it takes none."""
        self.runs += 1
        run_id = f"run-{self.runs}"
        baseline.offer(self.store, "clothes", run_id)
        node = Resolver(
            strategy_class=LatestBlessedModelStrategy,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        graph = Compiler().compile(
            tfx_pipeline.Pipeline("clothes", str(self.locations.artifacts), components=[node])
        )
        inputs.narrow(graph, run_id)
        with Metadata(connection(self.locations.metadata)) as handle:
            (chosen,) = inputs_utils.resolve_input_artifacts(
                pipeline_node=graph.nodes[0].pipeline_node, metadata_handle=handle
            )
        return chosen["model"][0].uri if chosen["model"] else None

    def count(self):
        return len(self.store.get_artifacts())

    def _bless(self, model, blessed):
        blessing = mlmd.Artifact(
            type_id=self.types["ModelBlessing"], uri=f"{model.uri}/b", state=mlmd.Artifact.LIVE
        )
        blessing.custom_properties["blessed"].int_value = int(blessed)
        blessing.custom_properties["current_model_id"].int_value = model.id
        self._put(blessing)

    def _put(self, artifact):
        """Records an output of a node."""
        event = mlmd.Event(type=mlmd.Event.OUTPUT)
        event.path.steps.add().key = "made"
        event.path.steps.add().index = 0
        kind = self.store.put_execution_type(mlmd.ExecutionType(name="Trainer"))
        execution = mlmd.Execution(type_id=kind, last_known_state=mlmd.Execution.COMPLETE)
        (context,) = self.store.get_contexts_by_id([self.context])
        _, (artifact.id,), _ = self.store.put_execution(execution, [(artifact, event)], [context])


def test_a_pipeline_that_never_ran_has_nothing_to_register(store, locations):
    assert baseline.register_served(store, "clothes", locations) is None
    assert store.get_artifacts() == []


def test_nothing_is_registered_where_the_latest_blessed_model_is_served(pipeline):
    pipeline.push(pipeline.train("a"))
    second = pipeline.train("b")
    pipeline.push(second)
    before = pipeline.count()
    assert pipeline.register() is None
    assert pipeline.count() == before
    assert pipeline.resolved() == str(second)


def test_a_model_that_was_not_blessed_changes_nothing(pipeline):
    first = pipeline.train("a")
    pipeline.push(first)
    pipeline.train("b", blessed=False)
    assert pipeline.register() is None
    assert pipeline.resolved() == str(first)


def test_an_earlier_model_that_is_served_again_is_the_one_resolved(pipeline):
    """A, B, and A again: the third run takes its model from the cache."""
    first = pipeline.train("a")
    pipeline.push(first)
    pipeline.push(pipeline.train("b"))
    version = pipeline.push(pipeline.train("a"))
    assert pipeline.resolved() != str(first)
    assert (
        pipeline.register() == f"registered served version {version} as the model to compare with"
    )
    assert pipeline.resolved() == str(first)


def test_a_blessed_model_whose_push_failed_is_not_compared_with(pipeline):
    first = pipeline.train("a")
    pipeline.push(first)
    pipeline.train("b")
    assert pipeline.register()
    assert pipeline.resolved() == str(first)


def test_registering_twice_changes_nothing_more(pipeline):
    pipeline.push(pipeline.train("a"))
    pipeline.train("b")
    assert pipeline.register()
    before = pipeline.count()
    assert pipeline.register() is None
    assert pipeline.count() == before


def test_a_model_that_is_pushed_after_one_was_registered_is_resolved(pipeline):
    pipeline.push(pipeline.train("a"))
    pipeline.train("b")
    pipeline.register()
    third = pipeline.train("c")
    pipeline.push(third)
    assert pipeline.register() is None
    assert pipeline.resolved() == str(third)


def test_where_nothing_is_served_no_blessing_counts(pipeline):
    pipeline.train("a")
    assert pipeline.resolved()
    assert pipeline.register() == TAKEN_BACK
    assert pipeline.resolved() is None
    states = {a.type: a.state for a in pipeline.store.get_artifacts()}
    assert states == {"Model": mlmd.Artifact.LIVE, "ModelBlessing": mlmd.Artifact.ABANDONED}
    assert pipeline.register() is None


def test_a_served_model_whose_artifact_is_gone_is_copied_from_what_is_served(pipeline):
    first = pipeline.train("a")
    version = pipeline.push(first)
    pipeline.train("b")
    shutil.rmtree(first)
    assert pipeline.register()
    (resolved,) = (pipeline.locations.artifacts / "ServedModel" / "model").glob(f"{version}-*")
    assert pipeline.resolved() == str(resolved)
    assert (resolved / "Format-Serving" / "saved_model.pb").read_text() == "a"
    assert (resolved / "statistics").read_text() == "statistics of a"
    assert pipeline.register() is None


def test_other_content_under_the_same_version_is_another_artifact(pipeline):
    """Or the cache would hand on what was found of the model before."""
    first = pipeline.train("a")
    version = pipeline.push(first)
    shutil.rmtree(first)
    pipeline.register()
    before = pipeline.resolved()
    served = pipeline.locations.serving / str(version)
    (served / "saved_model.pb").write_text("put there by hand")
    shutil.rmtree(pipeline.locations.serving / ".kept")
    assert pipeline.register()
    assert pipeline.resolved() != before


def test_an_artifact_that_was_changed_is_not_taken_for_the_served_model(pipeline):
    first = pipeline.train("a")
    pipeline.push(first)
    (first / "Format-Serving" / "saved_model.pb").write_text("changed")
    assert pipeline.register()
    assert pipeline.resolved() != str(first)


def test_what_is_registered_says_where_it_comes_from(pipeline):
    version = pipeline.push(pipeline.train("a"))
    pipeline.train("b")
    pipeline.register()
    (execution,) = pipeline.store.get_executions_by_type("ServedModel")
    assert execution.last_known_state == mlmd.Execution.COMPLETE
    assert execution.custom_properties["served_version"].int_value == version


def fresh_store(pipeline):
    """ML Metadata is lost, and TFX's resolver is asked with what the new store has."""
    pipeline.locations.metadata.unlink()
    pipeline.store = metadata.open_store(pipeline.locations.metadata)
    line = pipeline.register()
    context = pipeline.store.get_context_by_type_and_name("pipeline", "clothes")
    pipeline.context = context.id
    pipeline.types = {
        name: pipeline.store.get_artifact_type(name).id for name in ("Model", "ModelBlessing")
    }
    return line


@pytest.mark.parametrize("artifacts", [True, False])
def test_where_ml_metadata_is_lost_it_is_rebuilt_from_what_is_served(pipeline, artifacts):
    pipeline.push(pipeline.train("a"))
    version = pipeline.push(pipeline.train("b"))
    if not artifacts:
        shutil.rmtree(pipeline.locations.artifacts)
    assert (
        fresh_store(pipeline) == f"registered served version {version} as the model to compare with"
    )
    (folder,) = (pipeline.locations.artifacts / "ServedModel" / "model").glob(f"{version}-*")
    assert pipeline.resolved() == str(folder)
    assert (folder / "Format-Serving" / "saved_model.pb").read_text() == "b"
    assert (folder / "statistics").read_text() == "statistics of b"
    assert pipeline.register() is None


def test_types_of_a_new_store_are_those_that_tfx_registers(pipeline):
    """TFX takes a type that is there for its own only where both are the same."""
    pipeline.push(pipeline.train("a"))
    fresh_store(pipeline)
    for artifact in (standard_artifacts.Model, standard_artifacts.ModelBlessing):
        expected = artifact._get_artifact_type()
        found = pipeline.store.get_artifact_type(expected.name)
        found.ClearField("id")
        assert found == expected


def test_a_served_model_that_cannot_be_read_is_not_registered(pipeline):
    version = pipeline.push(pipeline.train("a"))
    (pipeline.locations.serving / str(version) / "saved_model.pb").write_text("damaged")
    with pytest.raises(ServedModelError, match="not those that were published"):
        pipeline.register()


def test_where_the_store_would_still_give_another_model_the_run_stops(pipeline, monkeypatch):
    """As where ML Metadata takes what it is told and forgets it."""
    pipeline.push(pipeline.train("a"))
    pipeline.train("b")
    monkeypatch.setattr(baseline, "_register", lambda *_: None)
    with pytest.raises(BaselineError) as caught:
        pipeline.register()
    message = str(caught.value)
    assert re.search(r"artifacts/Trainer/model/b.*expected served version", message)
    # `repair` does not change a store that seems sound.
    assert f"Move {pipeline.locations.metadata} away" in message
    binding.write(pipeline.locations, parse("postgresql://ada@127.0.0.1:9/ml"))
    with pytest.raises(BaselineError, match=r"set metadata.uri to another database"):
        pipeline.register()


def test_a_new_line_of_models_is_compared_with_none(pipeline):
    pipeline.push(pipeline.train("a"))
    assert baseline.take_back_blessings(pipeline.store, "clothes") == TAKEN_BACK
    assert pipeline.resolved() is None
    # The run after it is compared again, whatever came of the new line.
    assert pipeline.register()
    assert (pipeline.locations.artifacts / pipeline.resolved()).exists()


def test_an_artifact_that_lacks_what_is_kept_is_not_taken(pipeline):
    """Without its statistics nobody would judge drift."""
    first = pipeline.train("a")
    pipeline.push(first)
    (first / "statistics").unlink()
    assert pipeline.register()
    assert (pipeline.locations.artifacts / pipeline.resolved() / "statistics").exists()


def test_what_is_not_kept_of_the_served_model_is_taken_from_its_artifact(pipeline):
    """As where the serving folder was copied without its hidden files."""
    version = pipeline.push(pipeline.train("a"))
    shutil.rmtree(pipeline.locations.serving / ".kept")
    assert pipeline.register() is None
    kept = versions.kept_folder(pipeline.locations.serving, version)
    assert (kept / "statistics").read_text() == "statistics of a"


def test_a_run_compares_with_what_was_offered_to_it(pipeline):
    """Not with what another run of the same pipeline was offered, or has made since."""
    first = pipeline.train("a")
    pipeline.push(first)
    pipeline.register()
    assert pipeline.resolved() == str(first)
    second = pipeline.train("b")
    pipeline.push(second)
    assert pipeline.resolved() == str(second)
