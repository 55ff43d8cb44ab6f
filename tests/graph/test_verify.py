"""A run is repeated from its receipt: the same to the bit, or the first difference is named."""

import contextlib
import gzip
import json
import shutil
from pathlib import Path

import pytest

from components import features

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(few, tmp_path_factory):
    """The few images in a folder that may be changed, and the arguments of `run` for it."""
    folder = tmp_path_factory.mktemp("verified") / "data"
    shutil.copytree(few[few.index("--data") + 1], folder)
    return [folder if argument == few[few.index("--data") + 1] else argument for argument in few]


@pytest.fixture(scope="module")
def verified(run_graph, data, tmp_path_factory):
    run = run_graph(tmp_path_factory.mktemp("verify") / "outputs", *data)
    return run


def verify(command, run, **options):
    return command("verify", "latest", "--output-dir", run.output_dir, "--json", **options)


@contextlib.contextmanager
def holding(path, content):
    """Other content in a file, for as long as it lasts."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def test_a_run_is_reproduced_to_the_bit_by_either_runner(quick_command, verified, run_graph, data):
    found = verify(quick_command, verified)
    assert found.code == 0, found.output + found.errors
    assert found.json["identical"]
    assert {"ExampleGen.examples", "Trainer.model", "Evaluator.evaluation"} <= set(
        found.json["artifacts"]
    )
    # Nothing of the second run is left.
    left = [path.name for path in verified.output_dir.iterdir() if path.is_dir()]
    assert left == [verified.root.name]

    beam = run_graph(verified.output_dir.parent / "beam", *data, "--runner", "beam")
    assert beam.receipt["digests"] == verified.receipt["digests"]
    assert beam.receipt["model_digest"] == verified.receipt["model_digest"]


def test_epochs_that_the_speed_settled_are_repeated(
    quick_command, run_graph, nodes_of, data, tmp_path
):
    minutes = ("--set", "training.minutes=0.01")
    run = run_graph(tmp_path / "outputs", *data, *minutes)
    assert run.receipt["config"]["training"]["minutes"] == 0.01
    assert run.receipt["settled_epochs"] == 1
    model_run = Path(nodes_of(run)["Trainer"].output("model_run").uri)
    assert len(json.loads((model_run / features.HISTORY_FILE).read_text())) == 1
    again = quick_command("run", *data, *minutes, "--output-dir", run.output_dir)
    assert "Nothing changed" in again.errors
    found = verify(quick_command, run)
    assert found.code == 0, found.output + found.errors
    assert found.json["identical"]


def test_one_pixel_is_found_and_named(quick_command, verified, data):
    path = data[data.index("--data") + 1] / "train-images-idx3-ubyte.gz"
    pixels = bytearray(gzip.decompress(path.read_bytes()))
    pixels[16 + 28 * 14 + 14] ^= 1
    with holding(path, gzip.compress(bytes(pixels), mtime=0)):
        found = verify(quick_command, verified)
    assert found.code == 5, found.errors
    assert found.json["first_difference"] == "ExampleGen.examples"
    (reason,) = found.json["reasons"]
    assert "train-images-idx3-ubyte" in reason


def test_another_seed_is_found_and_named(quick_command, verified):
    path = verified.root / "runs" / verified.receipt["run_id"] / "receipt.json"
    asked = {**verified.receipt["request"], "seed": verified.receipt["config"]["seed"] + 1}
    with holding(path, json.dumps({**verified.receipt, "request": asked}).encode()):
        found = verify(quick_command, verified)
    assert found.code == 5, found.errors
    # The seed also decides which images are validated on.
    assert found.json["first_difference"] == "ExampleGen.examples"
    assert any(reason.startswith("seed: ") for reason in found.json["reasons"])


def test_one_source_line_is_found_and_named(command, verified, project_copy):
    optimizer = project_copy / "components" / "trainer" / "optimizer.py"
    text = optimizer.read_text()
    assert text.count("math.sqrt(max(") == 1
    optimizer.write_text(text.replace("math.sqrt(max(", "1.01 * math.sqrt(max("))
    found = verify(command, verified, root=project_copy)
    assert found.code == 5, found.errors
    assert found.json["first_difference"] == "Trainer.model"
    file, node, revision = found.json["reasons"]
    assert file == "code: components/trainer/optimizer.py holds something else than then"
    assert node == "code: Trainer is the first node that runs other code"
    assert revision.startswith("code: revision ")
