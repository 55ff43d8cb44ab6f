"""DataGate looks for slices before the training: on a cluster, nothing else did before."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tfx.types import standard_artifacts

from components import features, reading_report, slices
from components.data_gate.executor import Executor


@pytest.fixture
def examples(tmp_path):
    """Examples with a shop each, of which three are test images."""
    counts = {"train": 6, "val": 2, "test": 3}
    report = reading_report.ReadingReport("manifest", "", (), counts, (), 0, "pad", 0, "dark", 0.0)
    reading_report.write(report, str(tmp_path))
    columns = pa.table({"shop": ["north"] * 11, features.EXAMPLE_ID: list("abcdefghijk")})
    pq.write_table(columns, tmp_path / features.COLUMNS_FILE)
    found = standard_artifacts.Examples()
    found.uri = str(tmp_path)
    return found


def refusal(examples, min_images):
    with pytest.raises(slices.SliceError) as caught:
        Executor().Do({"examples": [examples]}, {}, {"min_images": json.dumps(min_images)})
    return str(caught.value)


def test_slices_that_the_data_does_not_have_stop_the_run(examples, tmp_path):
    assert "the test split has 3 images" in refusal(examples, {"shop": 4})
    assert "its further columns are shop;" in refusal(examples, {"town": 1})
    (tmp_path / features.COLUMNS_FILE).unlink()
    assert "it has no further columns;" in refusal(examples, {"shop": 1})
