"""ServingCheck: an export that is not what was trained gets no further."""

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.serving_check.check import check_export

pytestmark = pytest.mark.slow

# Not imported: that would take Keras from this process too.
PROBE = Path(inspect.getfile(check_export)).with_name("probe.py")


@pytest.fixture(scope="module")
def class_names(few_run):
    return tuple(few_run.evaluation["per_class"])


@pytest.fixture(scope="module")
def trained(few_run, nodes_of):
    """The model artifact of a run."""
    return Path(nodes_of(few_run)["Trainer"].output("model").uri)


@pytest.fixture
def export(trained, tmp_path):
    return Path(shutil.copytree(trained / "Format-Serving", tmp_path / "export"))


@pytest.fixture
def findings(export, trained, class_names):
    def check(names=class_names):
        return check_export(str(export), str(trained / "golden.npz"), names)

    return check


def test_the_check_imports_what_a_server_has_alone(export, trained, class_names):
    golden_file = str(trained / "golden.npz")
    task = {"export": str(export), "golden_file": golden_file, "class_names": class_names}
    command = [sys.executable, "-I", "-X", "importtime", str(PROBE)]
    ended = subprocess.run(
        command, input=json.dumps(task), capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout.splitlines()[-1]) == []
    # Of a package that is kept away there is a line too, but none of its parts.
    parts = [line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()]
    packages = {part.split(".")[0] for part in parts if "." in part}
    assert "tensorflow" in packages
    assert not packages & {"keras", "jax", "sklearn", "pandas", "components"}


def alter_the_weights(export):
    """Changes the exponents of some weights."""
    (path,) = (export / "variables").glob("variables.data-*")
    content = bytearray(path.read_bytes())
    for position in range(3, len(content) // 2, 400):
        content[position] ^= 0x05
    path.write_bytes(content)


def remove_the_weights(export):
    (path,) = (export / "variables").glob("variables.data-*")
    path.unlink()


def truncate_the_graph(export):
    path = export / "saved_model.pb"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_the_graph(export):
    (export / "saved_model.pb").unlink()


def test_a_sound_export_passes(findings):
    assert findings() == []


@pytest.mark.parametrize(
    "alter", [alter_the_weights, remove_the_weights, truncate_the_graph, remove_the_graph]
)
def test_an_altered_export_is_found(alter, export, findings):
    alter(export)
    found = findings()
    assert found
    assert all("\n" not in line for line in found)


def test_the_export_of_another_model_is_found(export, class_names, sample_run, nodes_of):
    """It is whole and loads; it only does not answer as the trained model did."""
    other = Path(nodes_of(sample_run)["Trainer"].output("model").uri)
    found = check_export(str(export), str(other / "golden.npz"), class_names)
    # Three endpoints by two loaders.
    assert len(found) == 6
    assert all("is off by" in line for line in found)


def test_other_class_names_are_found(findings, class_names):
    swapped = (class_names[1], class_names[0], *class_names[2:])
    found = findings(swapped)
    assert found
    assert all("names other classes" in line for line in found)


def test_a_run_whose_export_prepares_images_otherwise_fails(
    few_run, few, command, project_copy, run_few, nodes_of, digest_of, set_values, tmp_path
):
    """Training is as before, the export divides by 255 once more; and what comes after is sound."""
    source = project_copy / "components" / "trainer" / "export.py"
    before = source.read_text()
    after = before.replace(
        "probabilities = model(_filled(images), training=False)",
        "probabilities = model(_filled(images) / 255.0, training=False)",
    )
    assert after != before, "the line to spoil is no longer there"
    source.write_text(after)
    output_dir = few_run.copy(tmp_path / "outputs")
    serving = output_dir / few_run.receipt["pipeline"] / "serving"
    served = digest_of(serving)
    spoilt = command("run", *few, "--output-dir", output_dir, root=project_copy)
    assert spoilt.code == 1
    receipt = command("runs", "show", "latest", "--json", "--output-dir", output_dir).json
    assert (receipt["status"], receipt["verdict"]) == ("failed", "none")
    assert receipt["failure"]["node"] == "ServingCheck"
    assert "off by" in receipt["failure"]["message"]
    assert "Traceback" not in spoilt.output + spoilt.errors
    assert receipt["nodes"]["Evaluator"]["status"] == "not run"
    assert digest_of(serving) == served

    following = run_few(output_dir, "--seed", "2")
    compared_with = nodes_of(following)["Resolver"].output("model").uri
    assert compared_with == nodes_of(few_run)["Trainer"].output("model").uri
