"""What a run is asked for when it is resumed."""

import dataclasses
import datetime

import pytest

from operations import recording, resume
from pipeline.errors import ConfigurationError


@pytest.fixture
def written(receipt, keep_receipt, output_dir):
    """Writes the receipt of a run that was interrupted, with some of it changed."""

    def write(**changes):
        keep_receipt(receipt, **changes)
        return output_dir

    return write


def test_the_same_is_asked_for_with_the_cache(written, receipt):
    output_dir = written()
    request = resume.request_of("latest", output_dir, False)
    assert request.assignments == ("seed=7",)
    assert (request.runner, request.seed) == ("local", None)
    assert request.use_cache and not request.force
    # An equal run may have ended before this one was forced: nothing changed since, and yet.
    assert request.resumed == receipt.sequence
    assert request.output_dir == output_dir


def test_the_data_that_was_found_is_taken_and_not_looked_for_again(written, prepared):
    """Another folder may be found by now: `auto` follows a variable of the shell."""
    request = resume.request_of("latest", written(), False)
    assert request.data == prepared.data.name != "auto"


def test_a_span_that_came_since_is_not_taken(written, receipt):
    output_dir = written(data={**receipt.data.model_dump(), "spans": [3, 4], "reference_span": 1})
    request = resume.request_of("latest", output_dir, False)
    assert request.assignments == ("seed=7", "spans.newest=4", "spans.reference=1")


def test_a_complete_run_is_not_resumed(written):
    with pytest.raises(ConfigurationError, match="is complete"):
        resume.request_of("latest", written(status="completed"), False)


@pytest.mark.parametrize(("pushed", "option"), [(7, ""), (None, " --new-line")])
def test_a_new_line_that_has_begun_is_not_begun_again(written, pushed, option):
    """The served model is that of the new line: --new-line would be refused."""
    command = "python3 pipeline_runner.py run --new-line --set 'name=my shoes'"
    output_dir = written(status="completed", command=command, pushed_version=pushed)
    with pytest.raises(ConfigurationError) as caught:
        resume.request_of("latest", output_dir, False)
    again = f"Start another with: python3 pipeline_runner.py run{option} --set 'name=my shoes'"
    assert str(caught.value).endswith(again)


def test_a_run_that_would_only_fail_again_is_not_resumed(written):
    """It is said what happened, and with which command it may go otherwise."""
    failure = {"node": "Trainer", "message": "the loss became nan.", "changes": ["a.b=1", "c=2"]}
    command = "python3 pipeline_runner.py run --no-cache --set 'name=my shoes'"
    output_dir = written(status="failed", failure=failure, command=command)
    with pytest.raises(ConfigurationError) as caught:
        resume.request_of("latest", output_dir, False)
    assert str(caught.value) == (
        "run 20260102-030405 would only fail again: the loss became nan. Start it changed, with: "
        "python3 pipeline_runner.py run --set 'name=my shoes' --set a.b=1 --set c=2"
    )


def test_any_other_failure_is_resumed(written):
    failure = {"node": "Trainer", "message": "no memory", "changes": []}
    output_dir = written(status="failed", failure=failure)
    assert resume.request_of("latest", output_dir, False).output_dir == output_dir


def test_a_schema_file_is_found_from_any_folder(prepared, request_, tmp_path):
    asked = dataclasses.replace(request_, assignments=("seed=7", "schema_file=mine.pbtxt"))
    config = prepared.config.model_copy(update={"schema_file": "/project/mine.pbtxt"})
    changed, now = dataclasses.replace(prepared, config=config), datetime.datetime.now(datetime.UTC)
    begun = recording.begun("20260102-030405", 1, now, changed, asked, "9" * 64)
    again = resume.request_again(begun, tmp_path, False)
    assert again.assignments == ("seed=7", "schema_file=/project/mine.pbtxt")
