"""The real data: Fashion-MNIST, from the folder that FASHION_MNIST_DIR names."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


def assert_whole(receipt):
    assert receipt["evaluation"]["count"] == 10000
    assert [scores["support"] for scores in receipt["evaluation"]["per_class"].values()] == [
        1000
    ] * 10
    assert sum(gate["metric"] == "recall" for gate in receipt["gates"]) == 10


def test_the_smoke_profile_on_real_data(run_graph, real_data_folder, tmp_path):
    run = run_graph(tmp_path / "outputs", "--data", real_data_folder, "--profile", "smoke")
    assert run.receipt["pipeline"] == "fashion-mnist-smoke"
    assert run.evaluation["accuracy"] >= 0.85
    assert_whole(run.receipt)


@pytest.mark.timeout(1500)
def test_the_default_profile_on_real_data(run_graph, set_values, real_data_folder, tmp_path):
    """In two of its epochs, for the time they take without bfloat16: a minute each."""
    fewer = set_values(training__epochs=2)
    run = run_graph(tmp_path / "outputs", "--data", real_data_folder, *fewer)
    assert run.receipt["pipeline"] == "fashion-mnist"
    assert run.evaluation["accuracy"] >= 0.91
    assert_whole(run.receipt)
