"""The arguments that each engine gets, and the server that one starts."""

import os
import socket

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from tfx.utils import dependency_utils

from pipeline.config import BeamConfig
from pipeline.errors import ConfigurationError
from pipeline.runners import engine

POOL = {"environment": "pool", "worker_pool": "localhost:50000"}
IMAGE = "registry.example.org/image-pipeline:1.0"
CLUSTER = {"runner": "flink", "job_endpoint": "flink:8099"}
ENGINES = [
    {},
    {"runner": "prism", "prism_location": "/opt/prism"},
    {**CLUSTER, **POOL, "parallelism": 4},
    {**CLUSTER, "environment": "docker", "worker_image": IMAGE},
    {"runner": "flink", "flink_job_server_jar": "/opt/server.jar"},
    {"runner": "portable", "job_endpoint": "embed", **POOL},
    {
        "runner": "portable",
        "options": ("--runner=DataflowRunner", "--region=here"),
        "environment": "docker",
        "worker_image": IMAGE,
    },
]


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 0\n", "of another machine"])
def test_a_program_that_is_no_prism_is_named(tmp_path, content):
    program = tmp_path / "prism"
    program.write_text(content)
    program.chmod(0o755)
    with (
        pytest.raises(ConfigurationError, match=rf"{program} did not start as a server"),
        engine.serving(BeamConfig(runner="prism", prism_location=str(program))),
    ):
        pytest.fail("not reached")


def options(**values):
    return PipelineOptions(list(engine.node_arguments(BeamConfig(**values))))


@pytest.mark.parametrize("values", ENGINES)
def test_tfx_builds_no_package_for_workers(values, monkeypatch):
    monkeypatch.setattr(dependency_utils, "build_ephemeral_package", pytest.fail)
    arguments = list(engine.node_arguments(BeamConfig(**values)))
    assert dependency_utils.make_beam_dependency_flags(arguments) == arguments


def test_the_local_engine_is_what_it_was():
    assert engine.node_arguments(BeamConfig()) == engine.NODE_ARGUMENTS


def test_flink_takes_the_job_server_the_pool_and_the_parallelism():
    found = options(**CLUSTER, **POOL, parallelism=4).get_all_options()
    assert found["runner"] == "FlinkRunner"
    assert found["job_endpoint"] == "flink:8099"
    assert (found["environment_type"], found["environment_config"]) == (
        "EXTERNAL",
        "localhost:50000",
    )
    assert "--parallelism=4" in engine.node_arguments(BeamConfig(**CLUSTER, **POOL, parallelism=4))


def test_flink_without_a_cluster_runs_inside_its_job_server():
    found = options(runner="flink", flink_job_server_jar="/opt/server.jar").get_all_options()
    assert (found["flink_master"], found["environment_type"]) == ("[local]", "LOOPBACK")
    assert found["flink_job_server_jar"] == "/opt/server.jar"


def test_an_image_is_named_once_for_tfx_and_once_for_beam():
    found = options(**CLUSTER, environment="docker", worker_image=IMAGE)
    assert found.view_as(PortableOptions).environment_config == IMAGE
    assert found.get_all_options()["sdk_container_image"] == IMAGE


def test_further_options_come_last():
    found = engine.node_arguments(BeamConfig(**ENGINES[-1]))
    assert found[-2:] == ("--runner=DataflowRunner", "--region=here")
    assert sum(argument.startswith("--runner=") for argument in found) == 1


def test_only_engines_without_a_server_start_one(tmp_path):
    with engine.serving(BeamConfig(runner="portable", job_endpoint="embed")) as serving:
        assert serving.started is None
        assert serving.arguments[:2] == ("--runner=PortableRunner", "--job_endpoint=embed")


@pytest.mark.parametrize("variable", ["no_proxy", "no_grpc_proxy"])
def test_what_needs_no_proxy_is_only_extended(variable, monkeypatch):
    monkeypatch.setenv(variable, "flink.example.org")
    before = dict(os.environ)
    with engine.serving(BeamConfig(runner="portable", job_endpoint="embed")):
        within = dict(os.environ)
    names = ["flink.example.org", "localhost", "127.0.0.1", socket.getfqdn()]
    assert within["no_grpc_proxy"].split(",") == names
    assert os.environ == before
