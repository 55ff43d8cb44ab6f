"""The model to compare with is the one that is served, whatever ML Metadata saw last."""

import shutil

import pytest

from components.pusher.versions import served_versions

pytestmark = pytest.mark.slow


def model_of(run, nodes_of):
    return nodes_of(run)["Trainer"].output("model").uri


def compared_with(run, nodes_of):
    return nodes_of(run)["Resolver"].output("model").uri


def against_the_served(run):
    (gate,) = [
        g for g in run.receipt["gates"] if g["metric"] == "accuracy against the served model"
    ]
    return gate["value"]


def versions(run):
    return served_versions(run.root / "serving")


def test_a_then_b_then_a_again(few_run, run_few, nodes_of, tmp_path):
    output_dir = few_run.copy(tmp_path / "outputs")
    first = few_run
    second = run_few(output_dir, "--seed", "2")
    third = run_few(output_dir)
    fourth = run_few(output_dir)

    # The second is another model, and was compared with the first.
    assert second.receipt["model_digest"] != first.receipt["model_digest"]
    assert compared_with(second, nodes_of) == model_of(first, nodes_of)

    # The third comes from the cache, is compared with the second, and is pushed anew above it.
    assert third.receipt["nodes"]["Trainer"]["status"] == "cached"
    assert model_of(third, nodes_of) == model_of(first, nodes_of)
    assert compared_with(third, nodes_of) == model_of(second, nodes_of)
    difference = first.evaluation["accuracy"] - second.evaluation["accuracy"]
    assert against_the_served(third) == pytest.approx(difference, abs=1e-6)
    pushed = [run.receipt["pushed_version"] for run in (first, second, third)]
    assert pushed == sorted(set(pushed))
    assert versions(third) == pushed

    # The fourth is compared with the first model, the one now served, though the second's
    # registration is younger; and pushes no copy of what is served.
    assert compared_with(fourth, nodes_of) == model_of(first, nodes_of)
    assert against_the_served(fourth) == 0
    assert fourth.receipt["pushed_version"] == third.receipt["pushed_version"]
    assert versions(fourth) == pushed


def test_where_nothing_is_served_any_more_nothing_is_compared_and_somebody_has_to_be_there(
    few_run, few, quick_command, run_few, nodes_of, tmp_path
):
    output_dir = few_run.copy(tmp_path / "outputs")
    shutil.rmtree(output_dir / few_run.receipt["pipeline"] / "serving")
    arguments = ("run", *few, "--output-dir", output_dir)
    scheduled = quick_command(*arguments, IMAGE_PIPELINE_ATTEMPT="of a schedule")
    assert scheduled.code == 2
    assert f"version {few_run.receipt['pushed_version']} was served when run" in scheduled.errors
    run = run_few(output_dir)
    assert nodes_of(run)["Resolver"].output("model") is None
    assert "accuracy against the served model" not in {g["metric"] for g in run.receipt["gates"]}
    assert run.export.is_dir()
