"""Every run leaves its review, which can be made again and compared with others."""

import json

import pytest

FILES = ("review.html", "review.json", "charts.json", "predictions.parquet")


@pytest.fixture
def outputs(sample_run, tmp_path):
    return sample_run.copy(tmp_path / "outputs")


def run_folder(outputs, run):
    return outputs / run.receipt["pipeline"] / "runs" / run.receipt["run_id"]


def test_a_run_leaves_its_review_and_an_index_that_leads_to_it(sample_run):
    folder = run_folder(sample_run.output_dir, sample_run)
    assert all((folder / name).stat().st_size for name in FILES)
    index = (sample_run.root / "index.html").read_text(encoding="utf-8")
    assert f"runs/{sample_run.receipt['run_id']}/review.html" in index
    review = json.loads((folder / "review.json").read_text(encoding="utf-8"))
    accuracy = pytest.approx(sample_run.evaluation["accuracy"], abs=1e-6)
    assert review["report"]["accuracy"]["value"] == accuracy
    assert set(review["missing"]) <= {"comparison", "data.drifts", "robustness"}


def test_the_page_is_made_again_from_what_is_stored(light_command, sample_run, outputs):
    """To the byte, and without TensorFlow."""
    page = run_folder(outputs, sample_run) / "review.html"
    before = page.read_bytes()
    page.unlink()
    made = light_command("review", "--output-dir", outputs)
    assert made.code == 0, made.errors
    assert str(page) in made.output
    assert page.read_bytes() == before


@pytest.mark.slow
def test_a_review_that_is_gone_is_collected_anew(quick_command, sample_run, outputs):
    folder = run_folder(outputs, sample_run)
    (folder / "review.json").unlink()
    assert quick_command("review", "latest", "--output-dir", outputs).code == 0
    assert json.loads((folder / "review.json").read_text(encoding="utf-8"))["report"]


def test_a_run_does_not_differ_from_itself(light_command, sample_run, outputs):
    run = sample_run.receipt["run_id"]
    compared = light_command("runs", "compare", run, "latest", "--json", "--output-dir", outputs)
    assert compared.code == 0, compared.errors
    comparison = compared.json["comparison"]
    assert comparison["only_candidate"] == comparison["only_baseline"] == 0
    assert comparison["p_value"] == 1
    assert compared.json["parameters"] == compared.json["facts"] == {}
    assert (outputs / sample_run.receipt["pipeline"] / "comparisons").is_dir()


@pytest.mark.parametrize("arguments", [("review", "nope"), ("runs", "compare", "nope", "latest")])
def test_a_run_that_is_not_there_is_told_in_one_line(light_command, outputs, arguments):
    told = light_command(*arguments, "--output-dir", outputs)
    assert told.code == 2
    (line,) = told.errors.splitlines()
    assert line.startswith("error: 0 runs below ")
