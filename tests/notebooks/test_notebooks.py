"""The notebooks run from top to bottom: one with the project, one where TFX is not installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from pipeline.installation import packages

PROJECT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
# What the notebook on a run says that it needs, and what runs notebooks.
ENOUGH = ("pandas", "pyarrow", "altair", "ipykernel", "nbclient")


# Runs in whatever environment it is started with: notebook, folder to run it in, file to write.
RUN = """
import sys, nbclient, nbformat
source, folder, target = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
place = {"metadata": {"path": folder}}
nbclient.NotebookClient(notebook, timeout=540, kernel_name="python3", resources=place).execute()
nbformat.write(notebook, target)
"""


def executed(notebook, python, folder, target, **environment):
    """Runs a notebook from top to bottom in a folder, and returns it with its outputs."""
    ended = subprocess.run(
        [python, "-c", RUN, str(notebook), str(folder), str(target)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return nbformat.read(target, as_version=4)


def shown(notebook):
    """All texts that the cells of a notebook put out."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.get("text", "") for output in outputs]
    return "\n".join([*texts, *(str(output.get("data", {})) for output in outputs)])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    assert [cell.outputs for cell in cells if cell.cell_type == "code" and cell.outputs] == []


@pytest.mark.slow
def test_the_notebook_from_images_to_a_classifier_runs(tmp_path):
    notebook = executed(
        PROJECT / "notebooks" / "fashion_mnist.ipynb",
        sys.executable,
        PROJECT / "notebooks",
        tmp_path / "executed.ipynb",
        NOTEBOOK_DATA="sample",
        NOTEBOOK_OUTPUTS=str(tmp_path / "outputs"),
    )
    text = shown(notebook)
    for expected in ("Pushed as version", "macro average", "weighted average", "block3", "vega"):
        assert expected in text, expected


@pytest.fixture
def own_images(tmp_path):
    """Photographs of three classes, one of them named from right to left, in class folders."""
    random = np.random.default_rng(1)
    for channel, name in enumerate(
        ("tulip", "Megalosaurus of the Taynton Limestone, Oxfordshire", "قميص")
    ):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(40):
            colours = random.integers(0, 256, (6, 6, 3), np.uint8)
            colours[..., channel] = 255
            photo = Image.fromarray(colours).resize((48 + number % 3 * 8, 40))
            photo.save(folder / f"{number}.jpg")
    return tmp_path / "photos"


@pytest.mark.slow
def test_the_notebook_runs_on_a_configuration_of_ones_own(own_images, command, tmp_path):
    init = ("init", tmp_path / "flowers", "--data", own_images, "--set", "training.epochs=1")
    assert command(*init).code == 0
    notebook = executed(
        PROJECT / "notebooks" / "fashion_mnist.ipynb",
        sys.executable,
        PROJECT / "notebooks",
        tmp_path / "executed.ipynb",
        NOTEBOOK_CONFIG=str(tmp_path / "flowers" / "pipeline.toml"),
        NOTEBOOK_OUTPUTS=str(tmp_path / "outputs"),
    )
    text = shown(notebook)
    for expected in ("class folders with 3 classes", "قميص", "macro average", "block3", "vega"):
        assert expected in text, expected
    (receipt,) = (tmp_path / "outputs" / "flowers" / "runs").glob("*/receipt.json")
    assert json.loads(receipt.read_text())["data"]["name"] == str(own_images)


@pytest.fixture(scope="module")
def small_environment(tmp_path_factory):
    """The Python of an environment with pandas and Altair, but without TensorFlow and TFX."""
    folder = tmp_path_factory.mktemp("small") / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    # Each with its marker, if any.
    locked = [
        pin
        for lock in (packages.installed_lock(Path(sys.prefix)), packages.TESTS)
        for pin in re.findall(r"^\S+==[^\\\n]+", lock.read_text(), re.M)
    ]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(dict.fromkeys(locked)))
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints]
    # The tests' world is closed off from the network; installing needs it.
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    python = folder / "bin" / "python"
    subprocess.run([python, *install, *ENOUGH], check=True, env=environment)
    return str(python)


@pytest.mark.slow
def test_the_notebook_on_a_run_needs_neither_tfx_nor_the_project(
    sample_run, small_environment, tmp_path
):
    probe = [small_environment, "-c", "import tensorflow"]
    assert subprocess.run(probe, capture_output=True).returncode != 0
    run = sample_run.root / "runs" / sample_run.receipt["run_id"]
    # Away from the project, with a copy of the run's folder alone.
    copy = shutil.copytree(run, tmp_path / "run")
    away = tmp_path / "away"
    away.mkdir()
    notebook = executed(
        PROJECT / "notebooks" / "evaluation_review.ipynb",
        small_environment,
        away,
        tmp_path / "executed.ipynb",
        REVIEWED_RUN=str(copy),
    )
    text = shown(notebook)
    assert "Pushed as version" in text
    assert "iframe" in text
    assert "vega" in text
    assert "confidence" in text
