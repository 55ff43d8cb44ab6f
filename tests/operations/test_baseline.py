"""The resolver must compare with the model that is served, whatever came to be in between."""

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import artifact_utils

from components.pusher import versions
from operations import baseline
from pipeline import records


@pytest.fixture
def store(locations):
    locations.root.mkdir(parents=True)
    return records.open_store(locations.metadata)


@pytest.fixture
def pipeline(store, locations):
    return Pipeline(store, locations)


class Pipeline:
    """Does to ML Metadata and to the served folder what runs of the graph do."""

    def __init__(self, store, locations):
        self.store, self.locations = store, locations
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
            (folder / "Format-Serving").mkdir(parents=True)
            (folder / "Format-Serving" / "saved_model.pb").write_text(weights)
            model = mlmd.Artifact(
                type_id=self.types["Model"], uri=str(folder), state=mlmd.Artifact.LIVE
            )
            self._put(model)
            self._bless(model, blessed)
        return folder

    def push(self, folder):
        return versions.publish(folder / "Format-Serving", self.locations.serving)

    def register(self):
        return baseline.register_served(self.store, "clothes", self.locations)

    def resolved(self):
        """The folder of the model that TFX's resolver takes; None where it takes none."""
        live = [
            artifact
            for artifact in self.store.get_artifacts_by_context(self.context)
            if artifact.state == mlmd.Artifact.LIVE
        ]
        inputs = {
            key: [
                artifact_utils.deserialize_artifact(self.store.get_artifact_type(name), artifact)
                for artifact in live
                if artifact.type_id == self.types[name]
            ]
            for key, name in (("model", "Model"), ("model_blessing", "ModelBlessing"))
        }
        found = LatestBlessedModelStrategy().resolve_artifacts(self.store, inputs)
        return found["model"][0].uri if found["model"] else None

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
        (artifact.id,) = self.store.put_artifacts([artifact])
        place = mlmd.Attribution(artifact_id=artifact.id, context_id=self.context)
        self.store.put_attributions_and_associations([place], [])


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
    assert pipeline.register() == "nothing is served: earlier blessings no longer count"
    assert pipeline.resolved() is None
    states = {a.type: a.state for a in pipeline.store.get_artifacts()}
    assert states == {"Model": mlmd.Artifact.LIVE, "ModelBlessing": mlmd.Artifact.ABANDONED}
    assert pipeline.register() is None


def test_a_served_model_whose_artifact_is_gone_is_copied_from_what_is_served(pipeline):
    first = pipeline.train("a")
    version = pipeline.push(first)
    pipeline.train("b")
    (first / "Format-Serving" / "saved_model.pb").unlink()
    (first / "Format-Serving").rmdir()
    assert pipeline.register()
    resolved = pipeline.locations.artifacts / "ServedModel" / "model" / str(version)
    assert pipeline.resolved() == str(resolved)
    assert (resolved / "Format-Serving" / "saved_model.pb").read_text() == "a"
    assert pipeline.register() is None


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
    (execution,) = pipeline.store.get_executions()
    assert execution.type == "ServedModel"
    assert execution.last_known_state == mlmd.Execution.COMPLETE
    assert execution.custom_properties["served_version"].int_value == version
