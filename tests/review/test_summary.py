"""The summary as a file: whole or not at all, strict, and the same when it is read back."""

import json
import os

import pydantic
import pytest

from review.summary import REVIEW_FILE, Interval, stored_summary, write_summary


def test_a_summary_comes_back_as_it_was_written(full, tmp_path):
    write_summary(tmp_path, full)
    assert stored_summary(tmp_path) == full
    assert [path.name for path in tmp_path.iterdir()] == [REVIEW_FILE]


def test_a_summary_replaces_the_one_before(full, tmp_path):
    write_summary(tmp_path, full)
    changed = full.model_copy(update={"class_names": ["Bäg <b>"]})
    write_summary(tmp_path, changed)
    assert stored_summary(tmp_path).class_names == ["Bäg <b>"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_of_a_summary_is_infinite_or_none_at_all(value):
    with pytest.raises(pydantic.ValidationError):
        Interval(low=0.0, high=value)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema_version": 1}'])
def test_what_is_no_summary_counts_as_none(tmp_path, content):
    (tmp_path / REVIEW_FILE).write_text(content)
    assert stored_summary(tmp_path) is None


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_a_device_is_never_opened(tmp_path, make):
    make(tmp_path / REVIEW_FILE)
    assert stored_summary(tmp_path) is None


def test_a_summary_of_another_form_counts_as_none(full, tmp_path):
    other = json.dumps({**full.model_dump(mode="json"), "schema_version": 99})
    (tmp_path / REVIEW_FILE).write_text(other)
    assert stored_summary(tmp_path) is None
