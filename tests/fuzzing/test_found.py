"""What fuzzing found stays mended."""

import fcntl
import json

import pytest

from operations import rollback
from operations.scheduling.state import State, read_state
from pipeline import config, lock
from pipeline.errors import ConfigurationError
from pipeline.locations import Locations

_DEEP = 100_000 * "["


def test_a_deeply_nested_assignment_is_refused():
    with pytest.raises(ConfigurationError, match="expected"):
        config.load_config("default", [f"seed={_DEEP}"])


def test_a_deeply_nested_record_of_a_rollback_is_left_out(tmp_path):
    records = Locations(tmp_path).serving / ".rollbacks"
    records.mkdir(parents=True)
    (records / "9.json").write_text(_DEEP)
    assert rollback.recorded(Locations(tmp_path)) == []


def test_a_state_with_times_without_a_zone_is_forgotten(tmp_path):
    (tmp_path / "state.json").write_text('{"handled": "2026-01-02T03:04:05"}')
    assert read_state(tmp_path / "state.json") == State()


def test_the_holder_of_a_lock_cannot_command_a_terminal(tmp_path):
    path = tmp_path / "lock"
    holder = {"process": 1, "host": "a", "since": "b", "purpose": "\x1b[2J" + 9_999 * "x"}
    path.write_text(json.dumps({**holder, "user": "\u202e"}))
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        described = lock.holder(path).description
    assert described.isprintable() and len(described) < 1_000
