"""What fuzzing found stays mended."""

import fcntl
import json
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.render.runs import print_run, print_runs
from components import features
from components.image_schema import SchemaError, parse_schema
from components.pusher import rollbacks
from operations.initialization.look import label_order
from operations.notifications.notifying import Notifier
from operations.scheduling import outcome
from operations.scheduling.state import State, read_state
from pipeline import config, config_file, lock
from pipeline.datasets import digest_cache
from pipeline.errors import ConfigurationError, StoreError
from pipeline.locations import Locations
from pipeline.records import history
from tests.fuzzing import records

_HUGE = f"0x{20_000 * 'f'}"
_DEEP, _LONG = 100_000 * "[", 100_000 * "x"


def test_a_deeply_nested_assignment_is_refused():
    with pytest.raises(ConfigurationError, match="expected"):
        config.load_config("default", [f"seed={_DEEP}"])


@pytest.mark.parametrize("key", ["training.epochs", "spans.newest", "split.validation"])
def test_a_number_that_a_receipt_cannot_hold_is_refused(key):
    with pytest.raises(ConfigurationError, match="expected"):
        config.load_config("default", [f"{key}={2**53 + 1}"])


def test_a_deeply_nested_record_of_a_rollback_is_left_out(tmp_path):
    records = Locations(tmp_path).serving / ".rollbacks"
    records.mkdir(parents=True)
    (records / "9.json").write_text(_DEEP)
    assert rollbacks.recorded(Locations(tmp_path).serving) == []


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


@pytest.mark.parametrize("process", ["9" * 4_000, "-1"])
def test_a_lock_signed_by_no_process_is_held_by_another(process, tmp_path):
    path = tmp_path / "lock"
    known = '"user": "a", "host": "b", "since": "c", "purpose": "run"'
    path.write_text(f'{{"process": {process}, {known}}}')
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock.holder(path).description == "another process"


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"schema_version": 5, _LONG: 1, "\x1b[2J": 2}),
        json.dumps({"schema_version": 5, "pipeline": _LONG}),
        '{"schema_version": ' + 4_000 * "9" + "}",
        '{"schema_version": -' + 4_000 * "9" + "}",
        '"' + _LONG,
    ],
)
def test_a_damaged_receipt_is_told_in_a_short_line(tmp_path, caplog, content):
    (tmp_path / "clothes" / "runs" / "a").mkdir(parents=True)
    (tmp_path / "clothes" / "runs" / "a" / "receipt.json").write_text(content)
    assert history.read_receipts(tmp_path) == []
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 2_000


def test_a_run_is_not_numbered_after_a_number_that_no_receipt_may_have(tmp_path):
    (tmp_path / "clothes" / "runs" / "a").mkdir(parents=True)
    receipt = tmp_path / "clothes" / "runs" / "a" / "receipt.json"
    receipt.write_text('{"schema_version": 5, "sequence": ' + 4_300 * "9" + "}")
    assert history.next_sequence(tmp_path) == 1


def test_a_damaged_record_of_a_rollback_is_told_in_a_short_line(tmp_path, caplog):
    records = Locations(tmp_path).serving / ".rollbacks"
    records.mkdir(parents=True)
    (records / "9.json").write_text(json.dumps({_LONG: "\x1b[2J"}))
    assert rollbacks.recorded(Locations(tmp_path).serving) == []
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 2_000


def test_of_many_bad_addresses_some_are_named(tmp_path):
    addresses = tmp_path / "addresses"
    addresses.write_text("nothing://host\n" * 3_000)
    addresses.chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"address 1 .* more cannot be parsed") as caught:
        Notifier.from_options(addresses)
    assert len(str(caught.value)) < 4_000


def test_a_shape_of_many_dimensions_is_not_told_whole():
    shape = 10_000 * "dim { size: 3 } "
    text = (
        'tensor_representation_group { key: "decoded" value { tensor_representation { '
        f'key: "image" value {{ dense_tensor {{ shape {{ {shape} }} }} }} }} }} }}'
    )
    with pytest.raises(SchemaError, match="expected three dimensions") as caught:
        parse_schema(text, "schema.pbtxt")
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    "text",
    [
        f"{_LONG} = 1\n{_LONG} = 2",
        f"version = {4_000 * '9'}",
        f"version = '{_LONG}'",
        f"training = '{_LONG}'",
        f"data = ['{_LONG}']",
        f"profile = '{_LONG}'",
        f"seed = {_HUGE}",
        f"training.epochs = {_HUGE}",
        f"training.class_weights = {{ a = {_HUGE} }}",
        f"gates.required_slices = [{_HUGE}]",
        f"training.widths = {400 * '['}1{400 * ']'}",
        f"training.augmentation = {400 * '{ a = '}1{400 * '}'}",
        f"training = {400 * '{ a = '}1{400 * '}'}",
        f"data = {400 * '['}1{400 * ']'}",
    ],
)
def test_what_is_wrong_with_a_configuration_file_is_told_in_a_short_line(tmp_path, text):
    file = tmp_path / "pipeline.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="expected") as caught:
        config_file.combine(file)
    assert len(str(caught.value)) < 4_000


def test_what_a_log_says_last_is_told_in_a_short_line(tmp_path):
    log = tmp_path / "look.log"
    log.write_bytes(b"error: \x1b[2J" + _LONG.encode() + b"\xff\n")
    told = outcome.of_run("the look", 2, None, log).text
    assert told.isprintable()
    assert len(told) < 4_000


def test_what_a_server_answers_cannot_command_a_terminal(tmp_path, monkeypatch):
    records.answers(tmp_path)
    (tmp_path / "answer").write_bytes(b"HTTP/1.1 \x1b[2J" + _LONG.encode() + b"\r\n")
    assert records.fetch(tmp_path)


def test_a_database_whose_text_is_not_utf_8_is_refused(tmp_path):
    records.store(tmp_path)
    path = tmp_path / "metadata.db"
    path.write_bytes(
        path.read_bytes().replace(b"CREATE TABLE MLMDEnv", b"CREATE TABLE \xff\x1b\xff\xff\xff\xff")
    )
    with pytest.raises(StoreError, match="expected") as caught:
        records.check_store(tmp_path)
    assert str(caught.value).isprintable()


def test_the_texts_of_a_receipt_cannot_command_a_terminal(receipt, output_dir, capsys):
    failure = {"node": "\u202eTrainer", "message": "no \x1b[2J number"}
    failed = receipt.changed(status="failed", failure=failure)
    print_run(failed, output_dir, as_json=False)
    print_runs([failed], {}, output_dir, as_json=False)
    printed = capsys.readouterr().out
    assert "no \\x1b[2J number" in printed
    assert printed.replace("\n", "").isprintable()


def test_ids_that_are_no_texts_are_damage_that_is_told(tmp_path):
    records.artifacts(tmp_path)
    (predictions,) = tmp_path.rglob("predictions.parquet")
    table = pq.read_table(predictions)
    place = table.column_names.index(features.EXAMPLE_ID)
    numbers = pa.array([1.5] * table.num_rows)
    pq.write_table(table.set_column(place, features.EXAMPLE_ID, numbers), predictions)
    assert records.read_artifacts(tmp_path)


def test_a_receipt_with_a_number_without_end_is_left_out(receipt, keep_receipt, output_dir):
    kept = keep_receipt(receipt)
    (file,) = output_dir.rglob("receipt.json")
    file.write_text(file.read_text().replace('"seed": 7', '"seed": 7, "more": 1e999'))
    assert "1e999" in file.read_text()
    assert history.read_receipts(output_dir) == []
    kept.write(file.parent)
    assert len(history.read_receipts(output_dir)) == 1


def test_digests_in_a_database_whose_text_is_not_utf_8_are_forgotten(tmp_path):
    path = tmp_path / "digests.db"
    kept = digest_cache.DigestCache(path, str(tmp_path), trusted=True)
    state = (tmp_path.stat().st_dev, 2, 3, 4, 5)
    kept.keep("a", state, "00" * 32, time.time_ns())
    kept.save()
    content = path.read_bytes()
    assert b"CREATE TABLE files" in content
    path.write_bytes(content.replace(b"CREATE TABLE files", b"CREATE TABLE \xff\x1b\xff\xff\xff"))
    again = digest_cache.DigestCache(path, str(tmp_path), trusted=True)
    assert again.find("a", state) is None
    again.keep("a", state, "00" * 32, time.time_ns())
    again.save()


@pytest.mark.parametrize("word", ["", "class "])
def test_classes_with_numbers_of_any_length_are_in_order(word):
    names = [f"{word}{number}" for number in ("9" * 5_000, "1" + "0" * 5_000, "07", "8")]
    assert label_order(names, keep=False) == [2, 3, 0, 1]
