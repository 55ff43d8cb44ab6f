"""Rollback on models that were trained: the check is real, and the next run compares with it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from components.pusher import versions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_versions(few_run, run_few, tmp_path_factory):
    """Two models, one served after the other."""
    output_dir = few_run.copy(tmp_path_factory.mktemp("two_versions") / "outputs")
    second = run_few(output_dir, "--seed", "2")
    return second


@pytest.fixture
def two(two_versions, tmp_path):
    """The folder of the pipeline, to be changed."""
    return two_versions.copy(tmp_path / "outputs") / two_versions.receipt["pipeline"]


def served(root):
    return versions.served_versions(root / "serving")


def test_the_served_model_is_the_earlier_one_and_the_next_run_compares_with_it(
    few_run, few, two, quick_command, run_few, nodes_of, digest_of
):
    first, second = served(two)
    told = quick_command("rollback", "--json", "--output-dir", two.parent)
    assert told.code == 0, told.errors
    done = told.json
    assert (done["rolled_back_from"], done["rolled_back_to"]) == (second, first)
    assert served(two) == [first, second, done["new_version"]]
    assert digest_of(two / "serving" / str(done["new_version"])) == digest_of(few_run.export)

    lineage = quick_command("lineage", done["new_version"], "--json", "--output-dir", two.parent)
    assert lineage.json["run"]["run_id"] == few_run.receipt["run_id"]
    assert lineage.json["served"]
    listed = quick_command("runs", "--output-dir", two.parent)
    assert f"serves version {done['new_version']}" in listed.output

    # A schedule without --on-change, which forces its runs, does not bring the second model back.
    before = served(two)
    arguments = ("run", "--force", *few, "--seed", "2", "--output-dir", two.parent)
    scheduled = quick_command(*arguments, IMAGE_PIPELINE_ATTEMPT="of a schedule")
    assert scheduled.code == 1
    assert f"version {second} was rolled back by" in scheduled.output + scheduled.errors
    assert served(two) == before

    # For a person, nothing is trained: it is compared with the first, and pushed once more.
    following = run_few(two.parent, "--seed", "2")
    compared = Path(nodes_of(following)["Resolver"].output("model").uri)
    assert digest_of(compared / "Format-Serving") == digest_of(few_run.export)
    assert following.receipt["nodes"]["Trainer"]["status"] == "cached"
    assert following.receipt["pushed_version"] > done["new_version"]


def test_other_labels_of_test_images_do_not_bring_a_model_back(
    few_images, undemanding, two, quick_command, tmp_path
):
    """The model is trained again, to the same weights and with other reference images."""
    _, second = served(two)
    assert quick_command("rollback", "--output-dir", two.parent).code == 0
    before = served(two)
    labels = few_images.test_labels.copy()
    labels[0] = (labels[0] + 1) % 10
    mended = undemanding(few_images.change(test_labels=labels).write(tmp_path / "mended"))
    arguments = ("run", *mended, "--seed", "2", "--output-dir", two.parent)
    scheduled = quick_command(*arguments, IMAGE_PIPELINE_ATTEMPT="of a schedule")
    assert scheduled.code == 1
    assert f"version {second} was rolled back by" in scheduled.output + scheduled.errors
    assert served(two) == before


def refused(quick_command, root, *arguments):
    before = served(root)
    ended = quick_command("rollback", *arguments, "--output-dir", root.parent)
    assert ended.code == 2
    assert ended.output == ""
    (line,) = ended.errors.splitlines()
    assert line.startswith("error: ")
    assert "Nothing was changed." in line
    assert served(root) == before
    return line


def keep_anew(root, version, files, folder):
    """Keeps other files for a version, and digests of what it holds now."""
    copies = [shutil.copy(path, folder) for path in files]
    shutil.rmtree(versions.kept_folder(root / "serving", version))
    versions.keep(root / "serving", version, map(Path, copies))


def test_a_target_that_answers_otherwise_than_when_it_was_trained_is_refused(
    two, quick_command, tmp_path
):
    first, _ = served(two)
    with np.load(versions.kept_folder(two / "serving", first) / "golden.npz") as kept:
        arrays = dict(kept)
    golden = tmp_path / "before" / "golden.npz"
    golden.parent.mkdir()
    np.savez(golden, **{**arrays, "probabilities": arrays["probabilities"][::-1]})
    keep_anew(two, first, [golden], tmp_path)
    line = refused(quick_command, two)
    assert "is off by" in line


def test_a_target_that_does_not_load_is_refused(two, quick_command, tmp_path):
    """Nobody knows what was pushed: the digests are those of the damaged files."""
    version = served(two)[0]
    graph = two / "serving" / str(version) / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    golden = versions.kept_folder(two / "serving", version) / "golden.npz"
    keep_anew(two, version, [golden], tmp_path)
    assert "loader failed" in refused(quick_command, two, "--to", version)
