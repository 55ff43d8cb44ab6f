"""What `config show` prints."""

import json

from cli.render.effective import print_effective
from operations.effective import Value

VALUES = [Value("name", "[b]rosé", "[a]/pipeline.toml"), Value("training.epochs", 3, "--set")]


def test_people_read_a_table(capsys):
    print_effective(VALUES, as_json=False)
    heading, name, epochs = capsys.readouterr().out.splitlines()
    assert heading.split() == ["key", "value", "from"]
    assert name.split() == ["name", '"[b]rosé"', "[a]/pipeline.toml"]
    assert epochs.split() == ["training.epochs", "3", "--set"]


def test_programs_read_one_document(capsys):
    print_effective(VALUES, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "name": {"value": "[b]rosé", "from": "[a]/pipeline.toml"},
        "training.epochs": {"value": 3, "from": "--set"},
    }
