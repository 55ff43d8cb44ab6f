"""The benchmarks as commands: help, options, what they print, and the record that they leave.

The measurements are made up; what is done with them is not.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import (
    ablation,
    accuracy,
    augmentations,
    engines,
    image_sizes,
    ingest,
    pipeline_cost,
    processes,
    pytorch_environment,
    pytorch_process,
    record,
    scale,
    serving,
    time_to_accuracy,
    training_speed,
    trainings,
    uneven_classes,
)
from benchmarks.pace import Pace
from benchmarks.pytorch_task import Speed, Training
from components import features
from components.examples import Split
from pipeline import config
from pipeline.datasets.schema_file import read_schema
from pipeline.errors import OutputError, UsageError
from tests.made_data import made_dataset

PROJECT = Path(__file__).resolve().parents[2]
BENCHMARKS = {
    module.NAME: module
    for module in (
        ablation,
        accuracy,
        augmentations,
        engines,
        image_sizes,
        ingest,
        pipeline_cost,
        scale,
        serving,
        time_to_accuracy,
        training_speed,
        uneven_classes,
    )
}
# They make their images themselves.
WITHOUT_DATA = (augmentations.NAME, image_sizes.NAME)
HEAVY = ("apache_beam", "keras", "tensorflow", "tfx")
SPEEDS = {
    "ours": 300,
    "stock": 100,
    "convolutions": 600,
    "stock_batch_64": 50,
    "ours_float32": 150,
    "ours_plain": 320,
}
# PyTorch's, by the order of its layers and whether it is compiled.
PYTORCH_SPEEDS = {
    ("pool_first", False): 150,
    ("usual", False): 120,
    ("pool_first", True): 200,
    ("usual", True): 110,
}
PARAMETERS = 1_000
# What the made-up runs of the notebook's training saw, and when.
LOOKS = [{"seconds": 30.0, "accuracy": 0.885}, {"seconds": 60.0, "accuracy": 0.905}]
# What the three cost beside a training, by their names.
RESTS = {"ours": 30.0, "stock_tfx": 70.0, "plain_script": 10.0}
SIZES = (10_100, 20_200)
MADE = {"train": 14, "val": 7, "test": 7}
INGESTED = {ingest.PHOTOGRAPHS: 20, ingest.SMALL_FILES: 100}
# Seconds of a request to each side.
ANSWERED = {serving.NETWORK: 0.5} | dict.fromkeys(serving.ENDPOINTS, 0.6)


def scores(value):
    shirt = {"precision": value, "recall": value, "f1": value, "support": 5.0}
    return {"accuracy": value, "cross_entropy": 0.3, "per_class": {"Shirt": shirt}}


def made_up(function, *arguments):
    """Answers in the place of a measuring process."""
    module = function.__module__.rpartition(".")[2]
    match module, function.__qualname__, arguments:
        case "trainings", "write_transform_graph", _:
            return None
        case "training_speed", "measure", [str(name), *_]:
            return Pace(SPEEDS[name] * 2, 2.0)
        case "training_speed", "count_parameters", _:
            return PARAMETERS
        case "time_to_accuracy", "validation_rows", _:
            return [4, 17]
        case "accuracy", "measure", [_, str(profile), int(seed), list() as changes]:
            errors = {"ece_before": 0.05, "ece_after": 0.01 + len(changes)}
            found = {"profile": profile, "seed": seed, "seconds": 9.0, "temperature": 0.5}
            return {**found, **errors, **scores(0.9 + seed / 100)}
        case "trainings", "initialized", [data, folder, str(size), _]:
            assert sum(path.is_file() for path in data.rglob("*")) == sum(MADE.values())
            schema, _ = read_schema(str(PROJECT / "schema" / "schema.pbtxt"))
            found = config.load_config("default", [f"training.batch_size={size.partition('x')[0]}"])
            made = trainings.Inputs(made_dataset(found, schema), schema, str(folder))
            return trainings.Initialized(made, found, estimated_seconds=20.0)
        case "image_sizes", "measure", [_, config.Config() as found]:
            times = {"seconds": 40.0, "seconds_per_epoch": 2.0, "epochs": 20}
            return {**times, "accuracy": found.seed / 10, "peak_memory": 2**30}
        case "image_sizes", "measure_regression", _:
            return 0.25
        case "augmentations", "measure", [_, str(variant), config.Config() as found]:
            value = found.seed / 10 + (variant == augmentations.INIT) / 20
            about = {"variant": variant, "seed": found.seed, "seconds": 9.0}
            return {**about, "accuracy": value, "recall": {"disc": value, "bar": 0.5}}
        case "uneven_classes", "measure", [_, str(), str(weights), int(seed)]:
            value = {"none": 0.4, "balanced": 0.6}[weights] + seed / 100
            found = {"weights": weights, "seed": seed, "seconds": 9.0, "rare_images": 110}
            return {**found, **dict.fromkeys(uneven_classes.FIGURES, value)}
        case "ablation", "measure", [_, str(variant), _, _, int(seed)]:
            value = 0.9 + seed / 100 - (0.02 if variant == "no flip" else 0.0)
            return {"variant": variant, "seed": seed, "seconds": 9.0, **scores(value)}
        case "time_to_accuracy", "train_ours", [_, plan, _]:
            epochs = int(plan.assignments[0].partition("=")[2])
            return 10.0 * epochs, 0.95
        case "time_to_accuracy", "train_notebook", _:
            ended = {"seconds": 90.0, "images_per_second": 700.0, "ended": "limit"}
            return {"looks": LOOKS, **ended}
        case "time_to_accuracy", "measure_our_pace" | "measure_notebook_convolutions", _:
            return Pace(1_000, 1.0)
        case "serving", "measure_rounds", [_, _, rounds, requests]:
            return [
                {"round": number, "batch": batch, "side": side, "requests": count, "seconds": each}
                for number in range(rounds)
                for batch, count in requests.items()
                for side, each in ANSWERED.items()
            ]
        case "engines", "run_node", [_, str(node)]:
            return 2.0, {f"{node}.output": node}
        case "ingest", "prepare", [files, *_]:
            return files.name, 1.5
        case "scale", "measure_node", [str(), _]:
            return {"seconds": 4.0, "peak_memory": 2**30}
        case "ingest", "measure_listing", [str()]:
            return {"listing_seconds": 1e-5, "listing_memory": 500.0}
        case "ingest", "measure_workers", [str(), str(side)]:
            return {"seconds": 9.0 / ingest.WORKERS[side], "peak_memory": 2**30}
        case "ingest", "measure_loop", [files, _]:
            assert len([path for path in files.folder.rglob("*.*") if path.suffix != ".toml"]) in (
                INGESTED.values()
            )
            return {"seconds": 3.0}
        case "scale", "measure_node", [case, str(node)]:
            images = sum(map(case.data.count, features.SPLITS))
            memory = 10**9 + case.schema.bytes_per_image * images * (node == "DataGate")
            seconds = images / 1_000
            times = {"seconds": seconds, "processor_seconds": 2 * seconds}
            return {**times, "peak_memory": memory, "anonymous_memory": memory / 2}
    raise AssertionError(f"nobody expected {module}.{function.__qualname__}{arguments}")


def made_up_cost(task, data):
    """Answers in the place of a whole run, of which five seconds in an epoch are training."""
    epochs = 5.0 * task.config.training.epochs
    sizes = {"peak_memory": 2**30, "bytes_written": 2**20, "bytes_kept": 2**20, "bytes_left": 0}
    times = {"seconds": RESTS[task.side] + epochs, "training_seconds": epochs}
    asked = {"side": task.side, "training": task.training}
    cost = {**asked, **times, "processor_seconds": 20.0, **sizes}
    if task.side == "plain_script":
        return cost
    nodes = {"Trainer": epochs + 2.0, "Pusher": 0.5}
    return {**cost, "start_up": RESTS[task.side] / 2, "after": 1.0, "nodes": nodes}


@pytest.fixture
def run(monkeypatch, folder_of_images, tmp_path):
    """Runs a benchmark on a folder of images; returns its lines and its record."""
    monkeypatch.setattr(processes, "in_fresh_process", made_up)
    monkeypatch.setattr(pytorch_environment, "python", lambda: None)
    monkeypatch.setattr(pipeline_cost, "measure", made_up_cost)
    monkeypatch.setattr(pipeline_cost, "warm_up", lambda sides: None)
    monkeypatch.setattr(scale, "SIZES", ",".join(map(str, SIZES)))
    monkeypatch.setattr(ingest, "COUNTS", INGESTED)
    monkeypatch.setattr(engines, "SIZES", str(SIZES[0]))
    monkeypatch.setattr(scale, "SHAPES", "10x10x1,9x20x3")
    for module in (augmentations, image_sizes):
        monkeypatch.setattr(module, "COUNTS", MADE)

    def ran(name, *arguments):
        path = tmp_path / "record.json"
        data = [] if name in WITHOUT_DATA else ["--data", str(folder_of_images)]
        options = [*data, "--record", str(path), *arguments]
        result = CliRunner().invoke(BENCHMARKS[name].app, options, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        # Where `capsys` finds it.
        print(result.stderr, file=sys.stderr)
        return result.stdout.splitlines(), path

    return ran


@pytest.fixture
def pytorch(run, monkeypatch):
    """Makes up the PyTorch peer, which `run` leaves out; returns what may be changed of it."""
    made = {"compiler": "/usr/bin/g++", "parameters": PARAMETERS}

    def measure_speed(inputs, config, order, compiled, images):
        return Speed(PYTORCH_SPEEDS[order, compiled] * 2, 2.0, made["parameters"])

    def train(inputs, config, validation):
        assert validation == [4, 17]
        return Training(20.0 * config.training.epochs, 0.945, 0.93)

    monkeypatch.setattr(pytorch_environment, "python", lambda: "python")
    monkeypatch.setattr(pytorch_process, "compiler", lambda: made["compiler"])
    monkeypatch.setattr(pytorch_process, "measure_speed", measure_speed)
    monkeypatch.setattr(pytorch_process, "train", train)
    return made


# Runs each benchmark in a fork of a process that has imported what their command lines share.
# Prints by benchmark how it ended, and what it had imported.
FORKS = f"""
import json, os, runpy, sys, tempfile
from benchmarks import command, record
asked, outcomes = json.loads(sys.argv[1]), {{}}
for name, arguments in asked.items():
    files = [tempfile.TemporaryFile() for _ in range(3)]
    child = os.fork()
    if child == 0:
        code = 1
        for descriptor, file in enumerate(files[:2], 1):
            os.dup2(file.fileno(), descriptor)
        sys.argv = [name, *arguments]
        try:
            runpy.run_module(f"benchmarks.{{name}}", None, "__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            files[2].write(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))).encode())
            files[2].flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    output, errors, heavy = (os.pread(file.fileno(), 2**20, 0).decode() for file in files)
    outcomes[name] = code, output, errors, json.loads(heavy)
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def started(python):
    """Starts benchmarks with arguments; returns by name how they ended."""

    def start(arguments):
        ended = python("-c", FORKS, json.dumps(arguments), COLUMNS="200")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return start


def test_help_gives_examples_and_imports_nothing_heavy(started):
    ended = started({name: ["--help"] for name in BENCHMARKS})
    for name, (code, output, errors, heavy) in ended.items():
        assert code == 0, errors
        assert f"python -m benchmarks.{name}" in output
        assert "--record" in output
        assert heavy == [], name


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_last_line_is_json_and_the_record_holds_all(name, run, check_record):
    lines, path = run(name, "--json")
    found = check_record(path)
    assert found["figures"] == json.loads(lines[-1])
    assert (found["benchmark"], found["complete"]) == (name, True)
    assert found["repeats"]
    # Every option, and what followed from them.
    assert found["configuration"]["short"] is False
    trained = found["configuration"]["trained"]
    whole = [trained] if "training" in trained else list(trained.values())
    assert all({"training", "split", "seed"} <= set(config) for config in whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_without_json_people_get_a_table(name, run):
    lines, _ = run(name)
    assert not any(line.startswith("{") for line in lines)
    assert any(len(line.split()) > 3 for line in lines)


def test_training_speed_sets_ours_against_stock_and_convolutions(run, check_record):
    lines, path = run("training_speed", "--json", "--repeats", "2")
    figures = json.loads(lines[-1])
    assert figures["ratio_to_stock"] == 3.0
    assert figures["fraction_of_convolution_limit"] == 0.5
    assert figures["images_per_second"] == SPEEDS
    assert figures["ratio_to_pytorch"] is None
    order = [repeat["measurement"] for repeat in check_record(path)["repeats"]]
    assert order == list(SPEEDS) * 2


def test_training_speed_is_set_against_the_fastest_pytorch(run, pytorch):
    lines, _ = run("training_speed", "--json")
    figures = json.loads(lines[-1])
    assert figures["ratio_to_pytorch"] == 1.5
    plain, peer = SPEEDS["ours_plain"], 200
    assert figures["plain_ratio_to_pytorch"] == plain / peer
    peers = {name: figures["images_per_second"][name] for name in training_speed.PYTORCH_VARIANTS}
    assert [peers[name] for name in peers] == [150, 120, 200, 110]


def test_without_a_compiler_the_compiled_pytorch_is_left_out_in_words(run, pytorch, capsys):
    pytorch["compiler"] = None
    figures = json.loads(run("training_speed", "--json")[0][-1])
    assert figures["ratio_to_pytorch"] == 2.0
    assert not any("compiled" in name for name in figures["images_per_second"])
    assert training_speed.pytorch_variants(short=False) == ["pytorch", "pytorch_usual_order"]
    assert "COMPILED PYTORCH PEER IS LEFT OUT" in capsys.readouterr().err


def test_a_pytorch_network_of_another_size_does_not_count(run, pytorch):
    pytorch["parameters"] = PARAMETERS + 1
    with pytest.raises(processes.MeasurementError, match="learns 1,001 weights, ours 1,000"):
        run("training_speed", "--json")


@pytest.mark.parametrize("name", ["training_speed", "time_to_accuracy"])
def test_without_its_environment_pytorch_is_left_out_in_words(name, run, capsys):
    figures = json.loads(run(name, "--json")[0][-1])
    ratio = figures["ratio_to_pytorch"]
    assert set(ratio.values()) == {None} if isinstance(ratio, dict) else ratio is None
    assert "PYTORCH PEER IS LEFT OUT" in capsys.readouterr().err


def test_time_to_accuracy_trains_pytorch_by_the_same_plans(run, pytorch, check_record):
    lines, path = run("time_to_accuracy", "--json")
    found = json.loads(lines[-1])
    ratios = dict.fromkeys(("0.88", "0.90", "0.92", "0.94"), 2.0)
    # It missed the last one.
    assert found["ratio_to_pytorch"] == {**ratios, "0.947": None}
    peers = [each for each in check_record(path)["repeats"] if each["measurement"] == "pytorch"]
    assert {each["test_accuracy"] for each in peers} == {0.93}


def test_time_to_accuracy_divides_the_seconds(run):
    lines, _ = run("time_to_accuracy", "--json")
    figures = json.loads(lines[-1])
    epochs = {
        f"{threshold:.3f}".removesuffix("0"): int(plan.assignments[0].partition("=")[2])
        for threshold, plan in time_to_accuracy.OUR_PLANS.items()
    }
    seconds = {"0.88": 30.0, "0.90": 60.0, "0.92": 90.0, "0.94": 90.0, "0.947": 90.0}
    assert figures["ratio_to_accuracy"] == {
        key: pytest.approx(seconds[key] / (10 * epochs[key])) for key in seconds
    }
    reached = {"0.88", "0.90"}
    assert figures["at_least"] == {key: key not in reached for key in seconds}


def test_accuracy_has_mean_spread_and_every_seed(run):
    lines, _ = run("accuracy", "--json", "--profile", "smoke", "--seeds", "1,3")
    found = json.loads(lines[-1])["test_accuracy"]
    assert list(found) == ["smoke"]
    assert found["smoke"]["mean"] == pytest.approx(0.92)
    assert found["smoke"]["seeds"] == {"1": 0.91, "3": pytest.approx(0.93)}
    assert found["smoke"]["spread"]["min"] == 0.91


def test_accuracy_trains_with_other_settings(run, check_record):
    _, path = run("accuracy", "--json", "--profile", "smoke", "--set", "training.epochs=3")
    record = check_record(path)
    assert record["configuration"]["assignments"] == ["training.epochs=3"]
    assert record["configuration"]["trained"]["smoke"]["training"]["epochs"] == 3
    assert {repeat["ece_after"] for repeat in record["repeats"]} == {1.01}


def test_accuracy_refuses_a_setting_that_does_not_exist(run):
    with pytest.raises(UsageError, match=r"training\.epoch"):
        run("accuracy", "--json", "--profile", "smoke", "--set", "training.epoch=3")


@pytest.mark.parametrize(
    "assignment", ["seed=5", "training.minutes=2", "training.warm_start=true", "tuner.enabled=true"]
)
def test_accuracy_refuses_a_setting_that_would_change_nothing(run, assignment):
    with pytest.raises(UsageError, match=f"found {assignment.partition('=')[0]}, which changes"):
        run("accuracy", "--json", "--profile", "smoke", "--set", assignment)


def test_uneven_classes_has_mean_and_spread_with_and_without_weights(run):
    lines, _ = run("uneven_classes", "--json", "--seeds", "1,3")
    found = json.loads(lines[-1])
    assert list(found) == ["none", "balanced"]
    assert found["none"]["rare_recall"]["mean"] == pytest.approx(0.42)
    assert found["balanced"]["rare_recall"]["max"] == pytest.approx(0.63)


def test_image_sizes_has_every_figure_by_pixels_and_side(run, check_record):
    lines, path = run("image_sizes", "--json", "--sides", "32,48", "--seed", "4")
    found = json.loads(lines[-1])
    assert list(found) == ["gray", "colour"]
    assert list(found["gray"]) == list(found["colour"]) == ["32", "48"]
    assert found["colour"]["48"] == {
        "seconds_per_epoch": 2.0,
        "peak_memory": 2**30,
        "accuracy": 0.4,
        "regression_accuracy": 0.25,
        "estimate": 0.5,
    }
    assert len(check_record(path)["configuration"]["trained"]) == 4


def test_augmentations_has_mean_spread_and_recall_of_each_variant(run, check_record):
    lines, path = run("augmentations", "--json", "--seeds", "1,3")
    found = json.loads(lines[-1])
    assert list(found) == list(augmentations.CHANGES)
    assert found["init"]["accuracy"]["mean"] == pytest.approx(0.25)
    assert found["no_crop"]["accuracy"]["max"] == pytest.approx(0.3)
    assert found["no_crop"]["recall"]["bar"] == 0.5
    seeds = [repeat["seed"] for repeat in check_record(path)["repeats"]]
    assert seeds == [1] * len(found) + [3] * len(found)


def test_every_augmentation_is_one_that_the_configuration_takes():
    base = config.load_config("default")
    for changes in augmentations.CHANGES.values():
        found = augmentations.changed(base, changes).training.augmentation
        assert config.AugmentationConfig.model_validate(found.model_dump()) == found
    default = augmentations.changed(base, augmentations.CHANGES[augmentations.FASHION_MNIST])
    assert default == base


def test_of_the_rare_class_every_fiftieth_image_is_kept():
    labels = np.array([0, 1] * 150)
    split = Split(np.arange(300)[:, None], labels, np.arange(300))
    found = uneven_classes.thinned(split, rare=1)
    np.testing.assert_array_equal(found.ids[found.labels == 1], [1, 101, 201])
    assert (found.labels == 0).sum() == 150


def test_ablation_compares_with_the_reference_of_the_same_seed(run):
    lines, _ = run("ablation", "--json", "--variant", "no flip", "--seeds", "1,2")
    found = json.loads(lines[-1])["variants"]
    assert list(found) == ["reference", "no flip"]
    assert found["no flip"]["difference"]["mean"] == pytest.approx(-0.02)
    assert found["no flip"]["difference"]["standard_deviation"] == pytest.approx(0, abs=1e-9)


def test_ablation_writes_markdown(run):
    lines, _ = run("ablation", "--markdown", "--seeds", "1")
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 2 + 1 + len(ablation.VARIANTS)
    assert len({row.count("|") for row in rows}) == 1


@pytest.mark.parametrize("name", [name for name, changes in ablation.VARIANTS.items() if changes])
def test_every_variant_changes_the_profile(name, run, check_record):
    _, path = run("ablation", "--variant", name, "--epochs", "2", "--widths", "4,8")
    reference, variant = check_record(path)["configuration"]["trained"].values()
    assert reference["training"]["epochs"] == variant["training"]["epochs"] == 2
    assert reference["training"]["widths"] == variant["training"]["widths"] == [4, 8]
    assert variant != reference


def test_ablation_validates_on_as_many_images_as_asked_for(run, check_record):
    _, path = run("ablation", "--variant", "no flip", "--validation-per-class", "5")
    for trained in check_record(path)["configuration"]["trained"].values():
        assert trained["split"]["validation"] == 5


def test_ablation_takes_another_profile_for_its_reference(run, check_record):
    _, path = run("ablation", "--profile", "best", "--variant", "no flip", "--seeds", "1")
    trained = check_record(path)["configuration"]["trained"]
    assert trained["reference"] == config.load_config("best").model_dump(mode="json")
    assert not trained["no flip"]["training"]["augmentation"]["flip"]
    assert trained["no flip"]["training"]["epochs"] == trained["reference"]["training"]["epochs"]


def test_a_variant_that_changes_no_setting_is_a_trick():
    from benchmarks.tricks import TRICKS

    assert {name for name, changes in ablation.VARIANTS.items() if not changes} == set(TRICKS)


def test_pipeline_cost_takes_the_training_off(run, check_record):
    lines, path = run("pipeline_cost", "--json", "--repeats", "2", "--epochs", "3")
    figures = json.loads(lines[-1])
    assert figures["ratio_to_stock_tfx"] == pytest.approx(30 / 70)
    assert figures["overhead_to_stock_overhead"] == pytest.approx(20 / 60)
    assert figures["start_up_to_stock_tfx"] == pytest.approx(15 / 35)
    # Two epochs of the smoke profile, which are not taken off.
    assert figures["smoke_to_plain_script"] == pytest.approx(40 / 20)
    sides = [repeat["side"] for repeat in check_record(path)["repeats"]]
    assert sides == ["ours", "stock_tfx", "plain_script", "ours", "plain_script"] * 2


def test_pipeline_cost_shows_the_nodes_without_the_training(run):
    lines, _ = run("pipeline_cost", "--side", "ours", "--no-smoke")
    (trainer,) = (line.split() for line in lines if line.startswith("Trainer"))
    assert trainer == ["Trainer", "2.0"]


def test_pipeline_cost_without_a_side_has_no_ratio_to_it(run):
    lines, _ = run("pipeline_cost", "--json", "--side", "ours", "--side", "plain_script")
    figures = json.loads(lines[-1])
    assert figures["ratio_to_stock_tfx"] is figures["overhead_to_stock_overhead"] is None
    assert figures["smoke_to_plain_script"] == 2.0


def test_a_short_comparison_needs_no_smoke_run_of_its_own(run, check_record):
    lines, path = run("pipeline_cost", "--json", "--short")
    assert len(check_record(path)["repeats"]) == 3
    assert json.loads(lines[-1])["smoke_to_plain_script"] is not None


@pytest.mark.slow
def test_engines_need_a_cluster_whose_parts_can_be_killed(run):
    with pytest.raises(UsageError, match="expected a cluster whose parts can be killed"):
        run("engines", "--kills")
    with pytest.raises(UsageError, match="expected two folders with jars"):
        run("engines", "--flink", str(PROJECT))


def test_an_engine_with_other_digests_is_told(run, tmp_path, monkeypatch):
    prism = tmp_path / "prism"
    prism.write_text("")
    prism.chmod(0o755)

    def run_node(function, case, node):
        return 2.0, {f"{node}.output": case.config.beam.runner}

    monkeypatch.setattr(processes, "in_fresh_process", run_node)
    lines, _ = run("engines", "--prism", str(prism))
    assert any("DIFFERENT" in line for line in lines)
    figures = json.loads(run("engines", "--json", "--prism", str(prism))[0][-1])
    assert figures["equal"] == {"local": {"10100": True}, "prism": {"10100": False}}
    assert figures["seconds"]["prism"]["10100"] == dict.fromkeys(engines.BEAM_NODES, 2.0)


def test_scale_divides_largest_by_smallest(run):
    lines, _ = run("scale", "--json", "--repeats", "2")
    figures = json.loads(lines[-1])
    assert set(figures["time_growth"]) == set(scale.MEASURED)
    assert figures["time_growth"]["ExampleGen"] == pytest.approx(SIZES[1] / SIZES[0])
    assert figures["memory_per_added_byte"]["ExampleGen"] == 0
    assert figures["memory_per_added_byte"]["DataGate"] == pytest.approx(1)
    assert figures["processor_growth"] == pytest.approx(figures["time_growth"])
    assert figures["anonymous_per_added_byte"]["DataGate"] == pytest.approx(0.5)


def test_scale_can_leave_the_training_out(run, check_record):
    lines, path = run("scale", "--json", "--shapes", "none", "--data-nodes")
    assert tuple(json.loads(lines[-1])["seconds"]) == scale.DATA_NODES
    assert check_record(path)["configuration"]["data_nodes"]


def test_scale_measures_the_data_nodes_on_images_of_several_shapes(run, check_record):
    lines, path = run("scale", "--json", "--sizes", "none")
    figures = json.loads(lines[-1])
    assert list(figures) == ["shapes"]
    shaped = figures["shapes"]
    assert shaped["images"] == scale.SHAPED_IMAGES
    assert list(shaped["time_growth"]) == list(scale.DATA_NODES)
    assert list(shaped["seconds"]["DataGate"]) == ["10x10x1", "9x20x3"]
    assert shaped["memory_per_added_byte"]["DataGate"] == pytest.approx(1)
    assert shaped["time_growth"]["ExampleGen"] == pytest.approx(1)
    assert len(check_record(path)["repeats"]) == 2 * len(scale.DATA_NODES)


def test_ingest_divides_the_seconds_of_one_worker_by_those_of_two(run):
    lines, _ = run("ingest", "--json", "--repeats", "1", "--workers")
    figures = json.loads(lines[-1])
    assert figures["speed_up"] == dict.fromkeys(INGESTED, 2)
    assert figures["listing_memory"] == dict.fromkeys(INGESTED, 500)
    assert figures["ratio_to_loop"] == dict.fromkeys(INGESTED, 0.75)


def test_ingest_divides_the_seconds_of_the_loop_by_ours(run, check_record):
    lines, path = run("ingest", "--json", "--repeats", "2")
    figures = json.loads(lines[-1])
    assert figures["ratio_to_loop"] == dict.fromkeys(INGESTED, 0.75)
    assert figures["images"] == INGESTED
    assert figures["preparation_seconds"] == dict.fromkeys(INGESTED, 1.5)
    order = [(run["files"], run["side"]) for run in check_record(path)["repeats"]]
    sides = (ingest.OURS, ingest.LOOP)
    assert order == [(name, side) for name in INGESTED for side in sides] * 2


def test_serving_divides_the_seconds_of_an_endpoint_by_those_of_the_network(run, check_record):
    lines, path = run("serving", "--json", "--repeats", "2")
    figures = json.loads(lines[-1])
    batches = [str(batch) for batch in serving.REQUESTS]
    alike = {batch: pytest.approx(1.2) for batch in batches}
    assert figures["ratio_to_network"] == dict.fromkeys(serving.ENDPOINTS, alike)
    assert figures["images_per_second"][serving.NETWORK]["1000"] == 2_000
    assert len(check_record(path)["repeats"]) == 2 * len(batches) * len(ANSWERED)


def test_every_plan_is_one_that_the_configuration_takes(inputs):
    for plans in (time_to_accuracy.OUR_PLANS, time_to_accuracy.SAMPLE_PLANS):
        assert list(plans) == [0.88, 0.90, 0.92, 0.94, 0.947]
        for plan in plans.values():
            time_to_accuracy.configured(inputs, plan)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ablation", "--variant", "no luck"),
        ("augmentations", "--variant", "no luck"),
        ("augmentations", "--seeds", "one"),
        ("image_sizes", "--sides", "4"),
        ("image_sizes", "--sides", "28,wide"),
        ("ablation", "--profile", "huge"),
        ("ablation", "--seeds", "one"),
        ("ablation", "--seeds", "1,-1"),
        ("ablation", "--widths", "8,0"),
        ("ablation", "--validation-per-class", "100000"),
        ("ablation", "--widths", "wide"),
        ("accuracy", "--profile", "huge"),
        ("pipeline_cost", "--profile", "huge"),
        ("pipeline_cost", "--side", "theirs"),
        ("scale", "--sizes", "70000"),
        ("scale", "--sizes", "100,70000"),
        ("scale", "--sizes", "many"),
        ("time_to_accuracy", "--threshold", "0.91"),
    ],
)
def test_a_bad_value_is_told_in_words(name, option, value, run):
    with pytest.raises(UsageError, match="expected"):
        run(name, option, value)


@pytest.mark.parametrize("name", ["ablation", "accuracy", "pipeline_cost"])
def test_a_profile_is_looked_at_before_the_images(name, run):
    with pytest.raises(UsageError, match="unknown profile 'huge'"):
        run(name, "--profile", "huge", "--data", "/there/is/none")


@pytest.mark.parametrize(
    ("name", "option", "value", "least"),
    [
        ("ablation", "--epochs", "0", 1),
        ("pipeline_cost", "--epochs", "0", 1),
        ("pipeline_cost", "--repeats", "-1", 1),
        ("scale", "--repeats", "0", 1),
        ("scale", "--seed", "-1", 0),
        ("serving", "--repeats", "0", 1),
        ("time_to_accuracy", "--limit", "0", 1),
        ("training_speed", "--images", "10", 1000),
        ("training_speed", "--repeats", "0", 1),
    ],
)
def test_a_value_out_of_range_is_told_as_all_other_bad_input(name, option, value, least, run):
    with pytest.raises(UsageError) as caught:
        run(name, option, value)
    assert str(caught.value) == (
        f"{option}: found '{value}'; expected greater than or equal to {least}. Set it with "
        f"{option} VALUE."
    )


def test_a_text_in_the_place_of_a_number_ends_in_one_line(started):
    """As a person sees it: every benchmark has the command line that the others have."""
    options = dict.fromkeys(BENCHMARKS, "--repeats")
    options |= {"accuracy": "--seeds", "ablation": "--epochs", "time_to_accuracy": "--limit"}
    options |= {"uneven_classes": "--seeds", "augmentations": "--seeds", "image_sizes": "--sides"}
    options |= {"engines": "--seed"}
    ended = started({name: [option, "many"] for name, option in options.items()})
    for name, (code, _, errors, _) in ended.items():
        assert code == 2, name
        (line,) = errors.splitlines()
        assert line.startswith("error: ") and "found 'many'; expected" in line


def test_a_short_form_leaves_no_record_unless_asked(tmp_path):
    began = record.datetime.datetime(2026, 1, 2, 3, 4, 5)
    assert record.place(None, "accuracy", True, began) is None
    assert record.place("none", "accuracy", False, began) is None
    assert record.place("here.json", "accuracy", True, began) == "here.json"
    usual = Path(record.place(None, "accuracy", False, began))
    assert usual == PROJECT / "benchmarks" / "records" / "accuracy-20260102-030405.json"


def test_a_record_that_cannot_be_written_is_told_in_words(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="--record"):
        record.write({}, str(tmp_path / "file" / "record.json"))


def repeats(ours=0.9, pace=700.0, our_pace=2_000.0):
    return [
        {"measurement": "ours", "threshold": "0.88", "seconds": 10.0, "reached": ours >= 0.88},
        {"measurement": "notebook", "looks": LOOKS, "seconds": 90.0, "images_per_second": pace},
        {"measurement": "our_pace", "images_per_second": our_pace},
        {"measurement": "notebook_convolutions", "images_per_second": 1_400.0},
    ]


@pytest.mark.parametrize(
    ("pace", "our_pace", "suspect"),
    [(700, 3_500, False), (500, 3_500, True), (500, 2_500, False)],
)
def test_a_slow_baseline_on_a_fast_machine_is_suspect(pace, our_pace, suspect):
    baseline = time_to_accuracy.figures(repeats(pace=pace, our_pace=our_pace))["baseline"]
    assert baseline["suspect"] is suspect
    assert baseline["fraction_of_convolution_limit"] == pace / 1_400


def test_where_we_missed_a_threshold_or_there_is_no_notebook_there_is_no_ratio():
    missed = time_to_accuracy.figures(repeats(ours=0.87))
    assert missed["ratio_to_accuracy"] == {"0.88": None}
    found = time_to_accuracy.figures(repeats()[:1])
    assert found["ratio_to_accuracy"] == {"0.88": None}
    assert found["seconds"]["ours"] == {"0.88": 10.0}
    assert found["baseline"] is None
