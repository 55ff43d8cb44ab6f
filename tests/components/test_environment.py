"""The environment of a process: the user's settings never reach the numerical libraries."""

import json
import os
import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import environment, processor

PROJECT = Path(__file__).resolve().parents[2]
RUNNER = str(PROJECT / "pipeline_runner.py")
FAMILIES = ("DNNL_", "KERAS_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "TF_", "XLA_")
KEPT = {"KERAS_BACKEND", "KERAS_HOME", "TF_USE_LEGACY_KERAS", "TF_CPP_MIN_LOG_LEVEL"}
HOSTILE = {
    "KERAS_BACKEND": "jax",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_NNX_ENABLED": "true",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_ENABLE_ONEDNN_OPTS": "maybe",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_VAR_password": "secret",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "DNNL_DEFAULT_FPMATH_MODE": "BF16",
    "OMP_NUM_THREADS": "7",
    "MKL_NUM_THREADS": "7",
    "KMP_AFFINITY": "disabled",
    "XLA_FLAGS": "--no_such_flag",
}
PRINT_CONFIGURATION = """
import json
from components import environment
environment.enter()
import keras
print(json.dumps([keras.config.backend(), keras.config.floatx(), keras.config.epsilon(),
    keras.config.image_data_format(), keras.config.max_epochs(), keras.config.is_nnx_enabled()]))
"""
# What this project says of oneDNN, and what TensorFlow does.
PRINT_ONEDNN = """
from components import environment
environment.enter()
from tensorflow.python.util import _pywrap_util_port
print(environment.onednn(), _pywrap_util_port.IsMklEnabled())
"""
# Replaces a library; prints the environment variables at its import.
SPY = """
import json, os, pathlib
pathlib.Path(os.environ["SPY_ANSWER"]).write_text(json.dumps(dict(os.environ)))
os._exit(7)
"""


@pytest.fixture
def hostile_home(tmp_path):
    settings = {"floatx": "float16", "epsilon": 0.1, "backend": "jax"}
    settings["image_data_format"] = "channels_first"
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.fixture
def entered(monkeypatch):
    """Calls `enter` with some variables; returns the remaining ones and the dropped names."""

    def enter(variables):
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {"HOME": "/home/somebody", **variables})
            patch.setattr(environment, "_dropped", set())
            environment.enter()
            environment.enter()
            return os.environ, environment.dropped(), environment.onednn()

    return enter


@pytest.mark.slow
def test_keras_takes_nothing_from_the_user(hostile_home, python):
    home = {"HOME": str(hostile_home), "KERAS_HOME": "~/.keras"}
    ended = python("-c", PRINT_CONFIGURATION, **HOSTILE, **home)
    assert ended.returncode == 0, ended.stderr
    expected = ["tensorflow", "float32", 1e-7, "channels_last", None, False]
    assert json.loads(ended.stdout) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("tensorflow", [RUNNER, "run", "--data", "sample", "--output-dir", "outputs"]),
        ("tfx", ["-m", "components.kubeflow.entrypoint"]),
        ("tensorflow", ["-m", "benchmarks.accuracy", "--short", "--data", "sample"]),
    ],
)
def test_no_entry_point_lets_settings_pass(library, arguments, tmp_path, python):
    spy = tmp_path / "spy"
    (spy / library).mkdir(parents=True)
    (spy / library / "__init__.py").write_text(SPY)
    answer = tmp_path / "answer.json"
    spied = {"PYTHONPATH": f"{spy}:{PROJECT}", "SPY_ANSWER": str(answer)}
    python(*arguments, cwd=tmp_path, **HOSTILE, **spied)
    met = json.loads(answer.read_text())
    assert {name for name in met if name.startswith(FAMILIES)} == KEPT
    assert met["KERAS_BACKEND"] == "tensorflow"
    assert met["TF_USE_LEGACY_KERAS"] == "0"


@given(
    st.dictionaries(
        st.builds(str.__add__, st.sampled_from([*FAMILIES, "TFX_", "HOME_"]), st.text("AB_")),
        st.text("01ab"),
    )
)
def test_all_variables_of_the_families_are_dropped_and_no_other(variables):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", dict(variables))
        patch.setattr(environment, "_dropped", set())
        environment.enter()
        left, dropped = os.environ, environment.dropped()
    hostile = {name for name in variables if name.startswith(FAMILIES)}
    assert dropped == sorted(hostile)
    assert set(left) - {"HOME"} == (set(variables) - hostile) | KEPT | {"GLOG_minloglevel"}
    assert all(left[name] == variables[name] for name in set(variables) - hostile)


@pytest.mark.parametrize(
    ("value", "taken", "dropped"),
    [
        ("0", False, []),
        ("False", False, []),
        ("1", True, []),
        ("true", True, []),
        ("off", True, ["TF_ENABLE_ONEDNN_OPTS"]),
        ("", True, ["TF_ENABLE_ONEDNN_OPTS"]),
    ],
)
def test_onednn_is_recorded_as_tensorflow_reads_it(entered, monkeypatch, value, taken, dropped):
    monkeypatch.setattr(processor, "flags", lambda: frozenset(["avx512_vnni"]))
    left, names, onednn = entered({"TF_ENABLE_ONEDNN_OPTS": value})
    assert (onednn, names) == (taken, dropped)
    assert left.get("TF_ENABLE_ONEDNN_OPTS") in (None, str(int(taken)))


def test_older_processors_compute_without_onednn(entered, monkeypatch):
    """TensorFlow chooses by the processor where nobody says."""
    monkeypatch.setattr(processor, "flags", lambda: frozenset(["avx2", "avx512f"]))
    assert entered({})[2] is False
    assert entered({"TF_ENABLE_ONEDNN_OPTS": "1"})[2] is True


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{}, {"TF_ENABLE_ONEDNN_OPTS": "0"}])
def test_tensorflow_uses_onednn_where_the_receipt_says_so(python, asked):
    ended = python("-c", PRINT_ONEDNN, cwd=PROJECT, **asked)
    assert ended.returncode == 0, ended.stderr
    said, used = ended.stdout.split()
    assert said == used


def test_nothing_sends_ml_metadata_to_another_server_than_the_lock(entered):
    elsewhere = {"PGHOSTADDR": "10.0.0.1", "PGOPTIONS": "-c search_path=x", "PGSERVICE": "other"}
    left, dropped, _ = entered({**elsewhere, "PGPASSFILE": "file", "PGPASSWORD": "secret"})
    assert dropped == sorted(elsewhere)
    assert {name for name in left if name.startswith("PG")} == {"PGPASSFILE", "PGPASSWORD"}


def test_variables_of_a_parent_process_are_no_settings_of_the_user(entered):
    left, _, _ = entered(HOSTILE)
    assert entered(left)[:2] == (left, [])


WARN = """
from components import environment
environment.enter()
import warnings
warnings.warn("old", DeprecationWarning)
warnings.warn("odd")
print(environment.dropped())
"""


def test_no_warning_of_a_library_becomes_an_error(python):
    ended = python("-c", WARN, PYTHONWARNINGS="error")
    assert "'PYTHONWARNINGS'" in ended.stdout, ended.stderr
    assert "UserWarning: odd" in ended.stderr
    assert "DeprecationWarning" not in ended.stderr


@pytest.mark.parametrize("variables", [{}, {"HOME": ""}])
def test_a_user_without_a_home_folder_has_one_that_does_not_exist(monkeypatch, variables):
    def unknown(number):
        raise KeyError(number)

    with monkeypatch.context() as patch:
        patch.setattr(pwd, "getpwuid", unknown)
        patch.setattr(os, "environ", dict(variables))
        environment.enter()
        home = Path.home()
    assert not home.exists()


def test_the_log_level_of_the_user_is_kept(entered):
    assert entered({"TF_CPP_MIN_LOG_LEVEL": "0"})[0]["TF_CPP_MIN_LOG_LEVEL"] == "0"


@pytest.mark.slow
def test_a_run_is_the_same_under_hostile_settings(command, sample_run, hostile_home):
    output_dir = hostile_home / "outputs"
    arguments = ("run", "--data", "sample", "--output-dir", output_dir)
    outcome = command(*arguments, **HOSTILE, HOME=str(hostile_home))
    assert outcome.code == 0, outcome.errors
    (path,) = output_dir.glob("*/runs/*/receipt.json")
    receipt = json.loads(path.read_text())
    for key in ("model_digest", "digests", "evaluation", "environment"):
        assert receipt[key] == sample_run.receipt[key]
    log = path.with_name("log.txt").read_text()
    assert "left out of the environment: DNNL_DEFAULT_FPMATH_MODE, KERAS_BACKEND" in log
    assert "secret" not in log
