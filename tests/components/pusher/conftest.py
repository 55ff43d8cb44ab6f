"""Fixtures for the tests of Pusher: small exports."""

import json

import pytest

DESCRIPTION = {"image_shape": [28, 28, 1], "class_names": ["Shirt", "Boot"]}


@pytest.fixture
def make_export():
    """Writes a folder that looks like a SavedModel; other `weights` make another model."""

    def make(folder, weights=b"weights"):
        (folder / "variables").mkdir(parents=True)
        (folder / "assets.extra").mkdir()
        (folder / "saved_model.pb").write_bytes(b"graph")
        (folder / "variables" / "variables.data").write_bytes(weights * 10_000)
        (folder / "assets.extra" / "image_schema.json").write_text(json.dumps(DESCRIPTION))
        return folder

    return make
