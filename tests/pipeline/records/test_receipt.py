"""The receipt: its JSON form is the one of its schema, and it is written whole or not at all."""

import functools
import hashlib
import json
import operator
import shutil
import threading

import jsonschema
import pydantic
import pytest

from pipeline.records.receipt import SCHEMA_FILE, SCHEMA_VERSION, Receipt, schema_text

SCHEMA = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


def check(document):
    """Holds a JSON document against the schema."""
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_the_schema_is_that_of_the_model():
    """Where it is not: python3 -m pipeline.records.receipt"""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_receipt_fits_the_schema_and_comes_back_as_it_was(receipt, pushed_receipt):
    for each in (receipt, pushed_receipt):
        check(json.loads(each.to_json()))
        assert Receipt.from_json(each.to_json()) == each


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "done"),
        ("verdict", "accepted"),
        ("run_id", "yesterday"),
        ("pushed_version", "17"),
        ("evaluation", {"accuracy": 91.2}),
        ("environment", {"lock": 1}),
        ("model_digest", "abc"),
        ("surprise", 1),
    ],
)
def test_schema_and_model_refuse_what_is_no_receipt(pushed_receipt, key, value):
    document = {**pushed_receipt.as_json_value(), key: value}
    with pytest.raises(jsonschema.ValidationError):
        check(document)
    with pytest.raises(pydantic.ValidationError):
        Receipt.from_json(json.dumps(document))
    with pytest.raises(pydantic.ValidationError):
        pushed_receipt.changed(**{key: value, "gates": 1})


def test_the_schema_describes_every_key_and_asks_for_all(receipt):
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) == set(receipt.as_json_value())


# SHA-256 of the keys of a receipt and of its parts, by the version of the format.
KEYS_OF_VERSION = {5: "6a3254dd2a49a57b37a49843f75fb1b18b001c8dd1119f961d4640df5dae600e"}


def test_other_keys_have_another_version():
    """Receipts from before could not be read: raise SCHEMA_VERSION, and put the digest here."""
    parts = {"": SCHEMA, **SCHEMA["$defs"]}
    keys = {name: sorted(part.get("required", [])) for name, part in parts.items()}
    digest = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()
    assert {SCHEMA_VERSION: digest} == KEYS_OF_VERSION


PARTS = (
    (),
    ("request",),
    ("runner",),
    ("gates", 0),
    ("nodes", "Trainer"),
    ("data",),
    ("environment",),
    ("environment", "machine"),
    ("evaluation",),
    ("evaluation", "macro_avg"),
    ("evaluation", "per_class", "Boot"),
    ("calibration",),
    ("code",),
)


@pytest.mark.parametrize("place", PARTS, ids=str)
def test_no_key_of_a_receipt_may_be_missing(pushed_receipt, place):
    whole = functools.reduce(operator.getitem, place, pushed_receipt.as_json_value())
    for key in whole:
        document = pushed_receipt.as_json_value()
        del functools.reduce(operator.getitem, place, document)[key]
        with pytest.raises(pydantic.ValidationError, match=f"\\b{key}\\b"):
            Receipt.from_json(json.dumps(document))
        with pytest.raises(jsonschema.ValidationError):
            check(document)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_have_is_refused(pushed_receipt, number):
    for change in ({"seconds": number}, {"hyperparameters": {"learning_rate": number}}):
        with pytest.raises(pydantic.ValidationError, match="finite"):
            pushed_receipt.changed(**change)


@pytest.fixture
def folder(tmp_path, receipt):
    """The folder of a run, with its receipt."""
    receipt.write(tmp_path)
    return tmp_path


def test_a_receipt_is_replaced_and_leaves_nothing_beside_it(folder, receipt):
    receipt.changed(user="Zoë").write(folder)
    assert Receipt.from_json((folder / "receipt.json").read_bytes()).user == "Zoë"
    assert [path.name for path in folder.iterdir()] == ["receipt.json"]


def test_a_receipt_that_cannot_be_written_leaves_the_old_one(folder, receipt, full_disk):
    before = (folder / "receipt.json").read_bytes()
    with full_disk(), pytest.raises(OSError):
        receipt.changed(user="another").write(folder)
    assert (folder / "receipt.json").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["receipt.json"]


def test_a_receipt_is_not_written_into_a_folder_that_is_gone(folder, receipt):
    shutil.rmtree(folder)
    with pytest.raises(OSError):
        receipt.write(folder)


def test_a_reader_never_sees_half_a_receipt(folder, receipt):
    done = threading.Event()
    seen, failures = [], []

    def read():
        try:
            while not done.is_set():
                seen.append((folder / "receipt.json").read_text(encoding="utf-8"))
        except Exception as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        receipt.changed(host=f"{number}" + "x" * 100_000).write(folder)
    done.set()
    reader.join()
    assert failures == []
    assert len(seen) > 1
    assert all(Receipt.from_json(text).run_id == receipt.run_id for text in set(seen))
