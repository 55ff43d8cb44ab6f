"""What the tests of the benchmarks share: few images as files, and the form of a record."""

import json
from pathlib import Path

import jsonschema
import pytest

from benchmarks import record, trainings
from pipeline import config as configurations
from pipeline.datasets.dataset import Source
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.schema_file import read_schema

PROJECT = Path(__file__).resolve().parents[2]
PER_CLASS = 12


@pytest.fixture(scope="session")
def folder_of_images(sample_images, tmp_path_factory):
    """Twelve training images and five test images of each class, in the four IDX files."""
    return sample_images.first(PER_CLASS, 5).write(tmp_path_factory.mktemp("images") / "idx")


@pytest.fixture(scope="session")
def inputs(folder_of_images):
    """Those images as a benchmark has them; Transform's graph is not there."""
    schema, digest = read_schema(str(PROJECT / "schema" / "schema.pbtxt"))
    source = Source(folder_of_images, sample=False)
    loaded = configurations.load_config("smoke", ["split.validation=3"])
    return trainings.Inputs(read_dataset(source, schema, digest, loaded), schema, "nowhere")


@pytest.fixture(scope="session")
def small_config():
    """The smoke profile on so few images."""
    return configurations.load_config("smoke", ["split.validation=3"])


@pytest.fixture(scope="session")
def check_record():
    """Holds a record against its schema, as it comes back from its file."""

    def check(path):
        schema = json.loads(record.SCHEMA.read_text(encoding="utf-8"))
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(found)
        return found

    return check
