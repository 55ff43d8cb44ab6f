"""What the tests that run the graph share: small data, a served model, ML Metadata."""

import json

import jsonschema
import pytest

from pipeline.nodes import NODES
from pipeline.records import metadata
from pipeline.records.receipt import SCHEMA_FILE


def settings(**values):
    """Arguments of `run` for values of the configuration; `__` stands for the dot of a key."""
    pairs = [f"{key.replace('__', '.')}={value}" for key, value in values.items()]
    return [argument for pair in pairs for argument in ("--set", pair)]


@pytest.fixture(scope="session")
def check_receipt():
    """Holds a receipt against its schema."""
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    return validator.validate


@pytest.fixture(scope="session")
def set_values():
    """See `settings`."""
    return settings


@pytest.fixture(scope="session")
def few_images(sample_images):
    """A fifth of the sample's training images and half of its test images."""
    return sample_images.first(120, 50)


@pytest.fixture(scope="session")
def undemanding():
    """Makes the arguments of `run` for a folder: one epoch, and gates that let every model pass.

    Gates are what most tests are not about; those that are set their own after these.
    """

    def arguments(folder):
        values = settings(
            split__validation_per_class=30,
            training__epochs=1,
            # Small, so that one epoch of few images has steps enough to learn something.
            training__batch_size=20,
            gates__accuracy=0,
            gates__class_recall=0,
            gates__accuracy_drop=1,
        )
        return ["--data", folder, "--profile", "smoke", *values]

    return arguments


@pytest.fixture(scope="session")
def few(few_images, undemanding, tmp_path_factory):
    """Arguments of `run` for few images and no demands: a graph in a quarter of a minute."""
    return undemanding(few_images.write(tmp_path_factory.mktemp("few_images")))


@pytest.fixture(scope="session")
def run_few(run_graph, few):
    """Runs the graph on few images, with further arguments of `run`."""

    def run(output_dir, *arguments, code=0):
        return run_graph(output_dir, *few, *arguments, code=code)

    return run


@pytest.fixture(scope="session")
def few_run(run_few, tmp_path_factory):
    """A run on few images, whose model is served. Shared: to be copied, not changed."""
    return run_few(tmp_path_factory.mktemp("few_run") / "outputs")


@pytest.fixture(scope="session")
def store_of():
    """The ML Metadata of a run's pipeline."""

    def open_store(run):
        return metadata.open_store(run.root / "metadata.db")

    return open_store


@pytest.fixture(scope="session")
def nodes_of(store_of):
    """How ML Metadata says that the nodes of a run ended, by name."""

    def read(run):
        return metadata.read_nodes(store_of(run), run.root.name, run.receipt["run_id"], list(NODES))

    return read
