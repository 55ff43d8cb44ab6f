"""Numbers of executions: none is given twice, whatever became of the store and of the clock."""

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from operations import numbering
from pipeline.records import metadata


@pytest.fixture
def clock(monkeypatch):
    """Sets the clock to so many seconds."""
    return lambda seconds: monkeypatch.setattr(numbering.time, "time", lambda: seconds)


@pytest.fixture
def execute(locations):
    """Opens the store and notes so many executions in it; returns their numbers."""

    def put(count):
        locations.root.mkdir(parents=True, exist_ok=True)
        store = metadata.open_store(locations.metadata)
        type_id = store.put_execution_type(mlmd.ExecutionType(name="Trainer"))
        return store.put_executions([mlmd.Execution(type_id=type_id) for _ in range(count)])

    return put


@pytest.mark.parametrize("known", [0, 3, 9])
@pytest.mark.parametrize(
    "folder", ["Trainer/model/7", "Trainer/.system/executor_execution/7", "Pusher/pushed_model/7"]
)
def test_the_number_of_a_folder_is_not_given_again(locations, execute, clock, known, folder):
    """Though the clock was set back."""
    clock(0)
    execute(known)
    (locations.artifacts / folder).mkdir(parents=True)
    # A served model is named by its version, which is no number of an execution.
    (locations.artifacts / "ServedModel" / "model" / "1795780134").mkdir(parents=True)
    line = numbering.continue_from_now(locations)
    assert (line is None) == (known >= 7)
    assert execute(1) == [max(known, 7) + 1]
    assert numbering.continue_from_now(locations) is None


def test_two_stores_give_no_number_twice_though_no_folder_is_left(locations, execute, clock):
    clock(1_000)
    execute(0)
    assert numbering.continue_from_now(locations) is None
    first = execute(12)
    backup = locations.metadata.read_bytes()
    locations.metadata.unlink()

    clock(1_020)
    execute(0)
    numbering.continue_from_now(locations)
    second = execute(12)
    assert not set(first) & set(second)

    # The first store is restored.
    locations.metadata.write_bytes(backup)
    clock(1_040)
    numbering.continue_from_now(locations)
    assert not {*first, *second} & set(execute(12))


def test_a_clock_that_was_set_back_changes_nothing(locations, execute, clock):
    clock(1_000)
    execute(0)
    numbering.continue_from_now(locations)
    execute(5)
    clock(10)
    numbering.continue_from_now(locations)
    assert execute(1) == [1_006]
