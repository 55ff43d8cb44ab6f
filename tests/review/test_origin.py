"""Which run it is, where it comes from, and how to make it again."""

import itertools
import shlex

import pytest

from pipeline import config
from review import origin


def test_the_run_is_told_as_its_receipt_has_it(made_run):
    found = made_run.collect().run
    assert (found.id, found.pipeline, found.profile) == (
        made_run.receipt.run_id,
        "clothes",
        "default",
    )
    assert (found.status, found.verdict, found.pushed_version) == ("completed", "pushed", 17)
    assert [node.name for node in found.nodes] == list(made_run.receipt.nodes)
    assert not found.is_sample


def test_every_parameter_stands_under_its_key_as_set_takes_it(made_run):
    found = made_run.collect().lineage.parameters
    assert found["training.widths"] == "[48, 96, 192]"
    assert found["training.augmentation.flip"] == "true"
    assert found["gates.accuracy"] == "0.9"
    assert found["profile"] == "default"


def test_a_table_is_one_parameter(made_run):
    values = dict(made_run.receipt.config)
    values["training"] = {**values["training"], "class_weights": {"Shirt": 2.0}}
    made_run.change(config=values)
    found = made_run.collect().lineage.parameters
    assert found["training.class_weights"] == '{"Shirt": 2.0}'
    assert found["gates.slices"] == "{}"


def test_the_parameters_are_those_that_the_run_trained_with(made_run):
    """Not those that the Tuner, or a time for the training, took the place of."""
    made_run.change(
        config={"training": {"minutes": 5.0}},
        settled_epochs=77,
        hyperparameters={"label_smoothing": 0.0, "augmentation.shift": 0.1},
    )
    found = made_run.collect().lineage.parameters
    assert found["training.label_smoothing"] == "0.0"
    assert found["training.augmentation.shift"] == "0.1"
    assert (found["training.minutes"], found["training.epochs"]) == ("5.0", "77")
    made_run.change(settled_epochs=None)
    assert made_run.collect().lineage.parameters["training.epochs"] == "not known"


def test_the_keys_whose_values_are_tables_are_known():
    """The review cannot ask the configuration, which it does not import."""
    forms = config.Config.model_json_schema()

    def tables(form, prefix):
        # The values of an enumeration have no keys.
        for name, part in form.get("properties", {}).items():
            held = [part, *part.get("anyOf", [])]
            named = [one["$ref"] for one in held if "$ref" in one]
            if named:
                yield from tables(forms["$defs"][named[0].rpartition("/")[2]], f"{prefix}{name}.")
            elif any("additionalProperties" in one for one in held):
                yield f"{prefix}{name}"

    assert set(tables(forms, "")) == origin.TABLES


def test_the_lineage_names_what_the_model_depends_on(made_run):
    found, environment = made_run.collect().lineage, made_run.receipt.environment
    assert found.data == made_run.receipt.data.sha256
    assert (found.lock, found.lock_sha256) == (environment.lock, environment.lock_sha256)
    assert (found.seed, found.precision) == (1, "float32")
    assert found.machine["threads"] == str(environment.threads)
    assert found.machine["processor"] == environment.machine.processor
    assert found.versions == environment.versions


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python run.py run", "python run.py run --data '/data/my clothes'"),
        ("python run.py run --data auto", "python run.py run --data auto"),
        ("python run.py run --data=x", "python run.py run --data=x"),
        ("python run.py run --seed 1", "python run.py run --seed 1 --data '/data/my clothes'"),
    ],
)
def test_the_commands_name_revision_and_data(made_run, command, expected):
    made_run.change(command=command, code={"revision": "abc123", "dirty": False})
    commands = made_run.collect().lineage.commands
    assert commands == ["git checkout abc123", "make setup", expected]
    assert shlex.split(commands[-1])


@pytest.fixture
def of_spans(made_run):
    """A run on a window of spans."""
    made_run.change(data={"spans": (3, 4, 5), "reference_span": 1})
    return made_run


def test_the_data_is_told_with_its_spans(of_spans):
    assert of_spans.collect().run.data == "/data/my clothes (spans 3, 4, 5; tested on span 1)"


@pytest.mark.parametrize("named", [True, False], ids=["folder named", "folder not named"])
def test_the_command_names_the_spans_that_were_taken(of_spans, named):
    """By then there may be newer ones."""
    given = " --data '/data/my clothes'"
    command = "python run.py run --set spans.window=3"
    of_spans.change(command=command + given * named)
    found = of_spans.collect().lineage.commands[-1]
    assert found == f"{command}{given} --set spans.newest=5 --set spans.reference=1"


def test_the_command_names_the_epochs_that_a_time_came_to(made_run):
    """Another machine, or a busy one, would come to another number."""
    command = "python run.py run --data x --set training.minutes=5"
    made_run.change(command=command, settled_epochs=7)
    found = made_run.collect().lineage.commands[-1]
    assert found == f"{command} --set training.minutes=null --set training.epochs=7"
    words = shlex.split(found)
    assignments = [value for word, value in itertools.pairwise(words) if word == "--set"]
    training = config.load_config("smoke", assignments).training
    assert (training.minutes, training.epochs) == (None, 7)


def test_a_warm_start_names_the_model_that_has_to_be_served(made_run):
    assert made_run.collect().lineage.warm_start_from is None
    made_run.change(warm_start_from={"digest": "e" * 64, "version": 7})
    assert made_run.collect().lineage.warm_start_from == "e" * 64


def test_outside_of_a_checkout_there_is_no_revision_to_check_out(made_run):
    made_run.change(code={"revision": None, "dirty": None})
    found = made_run.collect().lineage
    assert found.revision is None
    assert found.commands[0] == "make setup"


def test_the_history_ends_with_this_run_and_has_intervals(made_run):
    earlier = made_run.receipt.changed(evaluation=None, verdict="none")
    # The second of them under a clock that was set to the future.
    made_run.others = [
        earlier.changed(run_id="20990101-000000", sequence=2),
        earlier.changed(run_id="20240101-000000", sequence=1),
    ]
    found = made_run.collect().history
    assert [run.id[:4] for run in found] == ["2024", "2099", "2026"]
    assert [run.accuracy is None for run in found] == [True, True, False]
    assert found[-1].accuracy == made_run.collect().report.accuracy


def test_the_history_holds_no_more_than_a_hundred_runs(made_run):
    made_run.others = [
        made_run.receipt.changed(run_id=f"2025{n:04d}-000000", sequence=n + 1) for n in range(150)
    ]
    found = made_run.collect().history
    assert (len(found), found[0].id, found[-1].id) == (100, "20250051-000000", "20260101-000000")


def test_the_command_has_the_values_of_a_configuration_file(made_run):
    """The file may change, or not be in the checkout."""
    asked = made_run.receipt.request.model_copy(
        update={"profile": "smoke", "assignments": ("images.fit=crop", "split.group=x"), "seed": 7}
    )
    command = "python3 pipeline_runner.py run --config a/pipeline.toml --set split.group=x --force"
    made_run.receipt = made_run.receipt.changed(request=asked, command=command)
    found = made_run.collect().lineage.commands[-1]
    assert found.startswith(
        "python3 pipeline_runner.py run --force --profile smoke --seed 7 --set images.fit=crop "
        "--set split.group=x"
    )
    assert "--config" not in found
