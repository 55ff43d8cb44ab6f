"""What `compile` prints, for people and for programs."""

import dataclasses
import json

import pytest

from cli.render import compiled
from operations.compile import Compiled, Parameters
from operations.targets import Target
from pipeline.runners.resources import Resources


@pytest.fixture
def graph():
    """A graph that was compiled."""
    return Compiled(
        file="graph.yaml",
        target=Target.KUBEFLOW,
        pipeline="clothes",
        profile="default",
        image="registry.example.org/clothes:1",
        pipeline_root="s3://artifacts",
        serving_dir="/mnt/serving",
        schema="/mnt/schema.pbtxt",
        precision="float32",
        parameters=Parameters("/mnt/data", "0a0a", 7),
        nodes={"Trainer": Resources("8", "16Gi")},
        submit="python -c '...[0]'",
    )


def test_people_read_the_nodes_and_how_to_submit_the_file(graph, capsys):
    compiled.print_compiled(graph, as_json=False)
    heading, node, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["node", "cpu", "memory"]
    assert node.split() == ["Trainer", "8", "16Gi"]
    assert lines == [
        "",
        "Pipeline    clothes, profile default, trained in float32",
        "Image       registry.example.org/clothes:1",
        "Schema      /mnt/schema.pbtxt",
        "Parameter   data_location = /mnt/data",
        "Parameter   data_digest = 0a0a",
        "Parameter   seed = 7",
        "File        graph.yaml",
        "Submit with python -c '...[0]'",
    ]


def test_a_command_is_printed_as_it_has_to_be_typed(graph, capsys):
    submit = "python -c '...[0]' '写真\u3000夏\u00a0\u200d.yaml'"
    compiled.print_compiled(dataclasses.replace(graph, submit=submit), as_json=False)
    assert capsys.readouterr().out.endswith(f"Submit with {submit}\n")


def test_programs_read_one_document(graph, capsys):
    compiled.print_compiled(graph, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "file": "graph.yaml",
        "target": "kubeflow",
        "pipeline": "clothes",
        "profile": "default",
        "image": "registry.example.org/clothes:1",
        "pipeline_root": "s3://artifacts",
        "serving_dir": "/mnt/serving",
        "schema": "/mnt/schema.pbtxt",
        "precision": "float32",
        "parameters": {"data_location": "/mnt/data", "data_digest": "0a0a", "seed": 7},
        "nodes": {"Trainer": {"cpu": "8", "memory": "16Gi"}},
        "submit": "python -c '...[0]'",
    }
